"""The `hfpipe` command: parses, calls one function of the library a command, prints what it returns.

Refuses nothing itself. Every mistake of a user is answered by its message on stderr and exit code 2, Ctrl-C by 130,
a reader of the output that had enough by 141 without a word.
What is slow to import is imported by the command that needs it, so that help, lists and configuration errors answer
in well under a second.
"""

import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer
from typer.core import TyperGroup

from hfpipe.cli_cache import cache
from hfpipe.cli_inspect import inspect
from hfpipe.cli_options import Accelerate, Delimiter, Encoding, MaxRestarts, Overrides, Overwrite, RunFile
from hfpipe.cli_profile import profile
from hfpipe.cli_repeat import repeat
from hfpipe.cli_report import report
from hfpipe.errors import HfpipeError, Stopped
from hfpipe.secrecy import hide_in_tracebacks

if TYPE_CHECKING:
    from hfpipe.evaluation.metrics import ClassScore

USER_MISTAKE = 2
INTERRUPTED = 130
ENOUGH_READ = 141
STDOUT = Path("-")

# options that hfpipe does not know are settings of the run: --learning_rate 3e-5
SETTINGS_AS_OPTIONS = {"ignore_unknown_options": True}

RunDirectory = Annotated[Path, typer.Argument(metavar="RUN_DIR", help="The output_dir of a finished run.")]
DataFile = Annotated[Path, typer.Argument(metavar="FILE", help="A table: .csv, .tsv, .json, .jsonl, .parquet, ...")]
BatchSize = Annotated[
    int | None, typer.Option(min=1, help="Texts scored at once, if not as many as make the tokens the device likes.")
]
Precision = Annotated[
    Literal["float32", "bf16"], typer.Option(help="bf16 is faster and moves scores in the third decimal.")
]
TextColumn = Annotated[
    list[str] | None, typer.Option(help="The column of the text, if not that of the training; again for a joined one.")
]
TextPairColumn = Annotated[str | None, typer.Option(help="The column of the second text, if not the training's.")]


class AnsweringGroup(TyperGroup):
    """Turns the errors a user can cause into a message and an exit code, for every command."""

    def invoke(self, ctx: Any) -> Any:
        """Run the command, its errors answered."""
        try:
            return _invoke_to_the_last_line(super().invoke, ctx)
        except BrokenPipeError as error:
            # nobody reads on, as under `| head`: what is still buffered goes nowhere, without a word
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            raise typer.Exit(ENOUGH_READ) from error
        except HfpipeError as error:
            print(error, file=sys.stderr)
            raise typer.Exit(USER_MISTAKE) from error
        except Stopped as stopped:
            print(stopped, file=sys.stderr)
            raise typer.Exit(stopped.exit_code) from stopped
        except KeyboardInterrupt as error:
            print("interrupted", file=sys.stderr)
            raise typer.Exit(INTERRUPTED) from error


def _invoke_to_the_last_line(invoke: Callable[[Any], Any], ctx: Any) -> Any:
    try:
        return invoke(ctx)
    finally:
        sys.stdout.flush()


app = typer.Typer(
    cls=AnsweringGroup,
    help="Pretrain causal language models and fine-tune text classifiers from one short file a run.",
    no_args_is_help=True,
    add_completion=False,
    # a bug keeps Python's own traceback
    pretty_exceptions_enable=False,
)


@app.command(context_settings=SETTINGS_AS_OPTIONS)
def run(
    file: RunFile,
    overrides: Overrides = None,
    accelerate: Accelerate = None,
    max_restarts: MaxRestarts = 0,
) -> None:
    """Check configuration and data, then train. The same command again resumes, or says that the run is done."""
    from hfpipe import launch
    from hfpipe.config.stopping import heeded_signals

    with heeded_signals():
        prepared = launch.prepare_launch(file, overrides or [], accelerate=accelerate, max_restarts=max_restarts)
        print(prepared.shown, file=sys.stderr)
        raise typer.Exit(launch.start(prepared))


@app.command(context_settings=SETTINGS_AS_OPTIONS)
def check(file: RunFile, overrides: Overrides = None) -> None:
    """Say all that can be known of a run without training; exit 2 when it cannot work."""
    from hfpipe.config.describe import describe_config
    from hfpipe.config.resolve import load_config
    from hfpipe.config.shipped import find_named_run

    config = load_config(["--config", str(find_named_run(file)), *(overrides or [])])
    print("\n".join(describe_config(config, with_defaults=True)))
    from hfpipe.training.checking import check as check_run

    report = check_run(config)
    print("\n".join(report.lines))
    for problem in report.problems:
        print(f"cannot work: {problem}", file=sys.stderr)
    raise typer.Exit(USER_MISTAKE if report.problems else 0)


recipes_app = typer.Typer(help="List the named runs and the recipes they belong to; 'copy' makes one yours.")
app.add_typer(recipes_app, name="recipes")


@recipes_app.callback(invoke_without_command=True)
def recipes(context: typer.Context) -> None:
    """List the named runs and the recipes they belong to; 'copy' makes one yours."""
    if context.invoked_subcommand is not None:
        return
    from hfpipe.config import RECIPES, list_named_runs

    print("Named runs: hfpipe run NAME [KEY=VALUE]...")
    _print_table([(run.name, run.recipe, run.summary) for run in list_named_runs()])
    print("\nRecipes: the first line of a YAML file of your own is 'recipe: NAME'")
    _print_table([(recipe.name, recipe.summary) for recipe in RECIPES.values()])
    print("\nTo change one: hfpipe recipes copy NAME [FOLDER]")


@recipes_app.command("copy")
def copy_recipe(
    name: Annotated[str, typer.Argument(metavar="NAME", help="A run, a recipe, or a file of accelerate_configs.")],
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="Where to; '.' by default.")] = Path(),
    overwrite: Overwrite = False,
) -> None:
    """Copy a named run, a recipe or an accelerate file into a folder, to change it there."""
    from hfpipe.config.copying import copy_shipped

    copied = copy_shipped(name, folder, overwrite=overwrite)
    print(f"wrote {copied.path}\nnext: {copied.next_command}")


app.command(context_settings=SETTINGS_AS_OPTIONS)(repeat)
app.command(context_settings=SETTINGS_AS_OPTIONS)(profile)
app.command(context_settings=SETTINGS_AS_OPTIONS)(inspect)
app.command()(report)
app.command()(cache)


@app.command()
def predict(
    run_dir: RunDirectory,
    file: DataFile,
    output: Annotated[Path, typer.Option(help="A .csv, .tsv or .jsonl file; '-' is CSV on standard output.")] = STDOUT,
    batch_size: BatchSize = None,
    precision: Precision = "float32",
    text_column: TextColumn = None,
    text_pair_column: TextPairColumn = None,
    delimiter: Delimiter = None,
    encoding: Encoding = None,
    overwrite: Overwrite = False,
) -> None:
    """Add what a classifier says of it to every row of a file, in its order: labels and probabilities, or a number."""
    from hfpipe.config.option_names import telling_options
    from hfpipe.config.stopping import unwound_at_signals
    from hfpipe.inference.tables import TextColumns, check_output, survey_table

    check_output(output, overwrite=overwrite)
    with telling_options():
        table = survey_table(file, delimiter=delimiter, encoding=encoding)
    from hfpipe.inference.loading import load_classifier
    from hfpipe.inference.scoring_files import predict_file

    classifier = load_classifier(run_dir)
    columns = TextColumns(tuple(text_column or ()), pair=text_pair_column)
    with telling_options(), unwound_at_signals():
        done = predict_file(classifier, table, output, columns=columns, batch_size=batch_size, precision=precision)
    empty = f", {done.empty:,} of them without text and so without a label" if done.empty else ""
    print(f"{output}: {done.rows:,} rows{empty}; texts from column {done.columns}", file=sys.stderr)


@app.command()
def evaluate(
    run_dir: RunDirectory,
    file: DataFile,
    output: Annotated[Path | None, typer.Option(help="A .json file to write the scores to as well.")] = None,
    batch_size: BatchSize = None,
    precision: Precision = "float32",
    text_column: TextColumn = None,
    text_pair_column: TextPairColumn = None,
    label_column: Annotated[str | None, typer.Option(help="The column of the label, if not the training's.")] = None,
    label_delimiter: Annotated[str | None, typer.Option(help="What divides labels, if not the training's.")] = None,
    delimiter: Delimiter = None,
    encoding: Encoding = None,
    overwrite: Overwrite = False,
) -> None:
    """Score a classifier on a labelled file by the metrics of its training."""
    from hfpipe.config.option_names import telling_options
    from hfpipe.inference.tables import check_output, survey_table

    if output is not None:
        check_output(output, suffixes=(".json",), overwrite=overwrite)
    with telling_options():
        survey_table(file, delimiter=delimiter, encoding=encoding)
    from hfpipe.evaluation.labelled_file import LabelledFile, evaluate_file
    from hfpipe.inference.loading import load_classifier
    from hfpipe.records.run_directory import write_json

    classifier = load_classifier(run_dir)
    texts = tuple(text_column or ())
    labelled = LabelledFile(file, texts, text_pair_column, label_column, label_delimiter, delimiter, encoding)
    with telling_options():
        scores = evaluate_file(classifier, labelled, batch_size=batch_size, precision=precision)
    print("\n".join(scores.lines), file=sys.stderr)
    _print_table([(name, f"{value:.4f}") for name, value in scores.metrics.items()])
    if scores.per_class:
        print()
        _print_table([("label", "precision", "recall", "f1", "rows"), *map(_class_row, scores.per_class)])
    if output is not None:
        write_json(output, scores.to_json())


@app.command()
def generate(
    run_dir: RunDirectory,
    prompt: Annotated[list[str], typer.Option(help="Text to continue; may be given several times.")],
    max_new_tokens: Annotated[int, typer.Option(help="Tokens in each continuation.")] = 60,
    temperature: Annotated[float, typer.Option(help="0 takes the likeliest token each time.")] = 0.8,
    top_p: Annotated[float, typer.Option(help="Share of the probability that is drawn from.")] = 0.95,
    seed: Annotated[int, typer.Option(help="The same seed continues a prompt in the same way.")] = 42,
) -> None:
    """Continue each prompt by a causal language model."""
    from hfpipe.inference.generate import GenerationSettings, continue_prompts
    from hfpipe.inference.loading import load_generator

    settings = GenerationSettings(max_new_tokens, temperature, top_p, seed)
    loaded = load_generator(run_dir)
    print("\n\n".join(continue_prompts(loaded.model, loaded.tokenizer, prompt, settings)))


def _class_row(scores: "ClassScore") -> Sequence[str]:
    rates = (scores.precision, scores.recall, scores.f1)
    return (scores.label, *(f"{rate:.4f}" for rate in rates), f"{scores.support:,}")


@app.command()
def push(
    run_dir: Annotated[Path, typer.Argument(metavar="RUN_DIR", help="The output_dir of a run.")],
    hub_model_id: Annotated[str | None, typer.Option(metavar="ID", help="The repository, if not the run's.")] = None,
    public: Annotated[bool, typer.Option("--public", help="Make it for everybody to read, if it is new.")] = False,
    revision: Annotated[str | None, typer.Option(metavar="BRANCH", help="The branch, made if it is new.")] = None,
    tag: Annotated[str | None, typer.Option(help="A name for the commit.")] = None,
    checkpoint: Annotated[
        list[str] | None, typer.Option(metavar="STEP|newest|best", help="A checkpoint; may be given several times.")
    ] = None,
    pending: Annotated[
        bool, typer.Option("--pending", help="Deliver what the run recorded to be pushed and could not, in order.")
    ] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="List what would be pushed, and stop.")] = False,
) -> None:
    """Push a finished run to the Hub, or checkpoints; a repository that is made is private."""
    from hfpipe.hub.pending import PushOptions, push_pending
    from hfpipe.hub.push import push_run

    options = PushOptions(hub_model_id, public, revision, tag, tuple(checkpoint or ()))
    lines = push_pending(run_dir, options, dry_run=dry_run) if pending else push_run(run_dir, options, dry_run=dry_run)
    for line in lines:
        print(line)


def _print_table(rows: Sequence[Sequence[str]]) -> None:
    """Print rows as aligned columns; a last column may be as wide as it likes."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        print("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())


def main() -> None:
    """Run the command line."""
    hide_in_tracebacks()
    app()
