"""The `hfpipe` command: parses, calls one function of the library a command, prints what it returns.

Refuses nothing itself. Every mistake of a user is answered by its message on stderr and exit code 2, Ctrl-C by 130.
What is slow to import is imported by the command that needs it, so that help, lists and configuration errors answer
in well under a second.
"""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from hfpipe.errors import HfpipeError, Stopped

USER_MISTAKE = 2
INTERRUPTED = 130
STDOUT = Path("-")

# options that hfpipe does not know are settings of the run: --learning_rate 3e-5
SETTINGS_AS_OPTIONS = {"ignore_unknown_options": True}

RunFile = Annotated[str, typer.Argument(metavar="FILE|NAME", help="A YAML file, or a run listed by 'hfpipe recipes'.")]
Overrides = Annotated[
    list[str] | None, typer.Argument(metavar="[KEY=VALUE]", help="Settings that take the place of the file's.")
]
RunDirectory = Annotated[Path, typer.Argument(metavar="RUN_DIR", help="The output_dir of a finished run.")]
DataFile = Annotated[Path, typer.Argument(metavar="FILE", help="A .csv, .tsv, .jsonl or .parquet file.")]
BatchSize = Annotated[int, typer.Option(min=1, help="Texts scored at once.")]
TextColumn = Annotated[str | None, typer.Option(help="The column that holds the text, if not that of the training.")]
Delimiter = Annotated[str | None, typer.Option(help="The delimiter of a .csv file, if it is not ','.")]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace the output file where it exists.")]


class AnsweringGroup(TyperGroup):
    """Turns the errors a user can cause into a message and an exit code, for every command."""

    def invoke(self, ctx: Any) -> Any:
        """Run the command, its errors answered."""
        try:
            return super().invoke(ctx)
        except HfpipeError as error:
            print(error, file=sys.stderr)
            raise typer.Exit(USER_MISTAKE) from error
        except Stopped as stopped:
            print(stopped, file=sys.stderr)
            raise typer.Exit(stopped.exit_code) from stopped
        except KeyboardInterrupt as error:
            print("interrupted", file=sys.stderr)
            raise typer.Exit(INTERRUPTED) from error


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
    accelerate: Annotated[
        str | None, typer.Option(metavar="NAME|FILE", help="Launch by accelerate under this file: cpu, multi_cpu, ...")
    ] = None,
) -> None:
    """Check configuration and data, then train. The same command again resumes, or says that the run is done."""
    from hfpipe import launch

    prepared = launch.prepare_launch(file, overrides or [], accelerate=accelerate)
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


@app.command()
def recipes() -> None:
    """List the named runs and the recipes they belong to."""
    from hfpipe.config import RECIPES, list_named_runs

    print("Named runs: hfpipe run NAME [KEY=VALUE]...")
    _print_table([(run.name, run.recipe, run.summary) for run in list_named_runs()])
    print("\nRecipes: the first line of a YAML file of your own is 'recipe: NAME'")
    _print_table([(recipe.name, recipe.summary) for recipe in RECIPES.values()])


@app.command()
def predict(
    run_dir: RunDirectory,
    file: DataFile,
    output: Annotated[Path, typer.Option(help="A .csv, .tsv or .jsonl file; '-' is CSV on standard output.")] = STDOUT,
    batch_size: BatchSize = 32,
    text_column: TextColumn = None,
    delimiter: Delimiter = None,
    overwrite: Overwrite = False,
) -> None:
    """Add the predicted label and the probability of each label to every row of a file, in its order."""
    from hfpipe.inference.tables import check_output, survey_table

    check_output(output, overwrite=overwrite)
    table = survey_table(file, delimiter=delimiter)
    from hfpipe.inference.loading import load_classifier
    from hfpipe.inference.scoring_files import predict_file

    classifier = load_classifier(run_dir)
    done = predict_file(classifier, table, output, text_column=text_column, batch_size=batch_size)
    empty = f", {done.empty:,} of them without text and so without a label" if done.empty else ""
    print(f"{output}: {done.rows:,} rows{empty}; texts from column '{done.text_column}'", file=sys.stderr)


@app.command()
def evaluate(
    run_dir: RunDirectory,
    file: DataFile,
    output: Annotated[Path | None, typer.Option(help="A .json file to write the scores to as well.")] = None,
    batch_size: BatchSize = 32,
    text_column: TextColumn = None,
    label_column: Annotated[str | None, typer.Option(help="The column of the label, if not the training's.")] = None,
    delimiter: Delimiter = None,
    overwrite: Overwrite = False,
) -> None:
    """Score a classifier on a labelled file by the metrics of its training."""
    from hfpipe.inference.tables import check_output, survey_table

    if output is not None:
        check_output(output, suffixes=(".json",), overwrite=overwrite)
    survey_table(file, delimiter=delimiter)
    from hfpipe.evaluation.labelled_file import LabelledFile, evaluate_file, read_label_names
    from hfpipe.inference.loading import load_classifier
    from hfpipe.records.run_directory import write_json

    classifier = load_classifier(run_dir)
    labelled = LabelledFile(file, text_column, label_column, delimiter, read_label_names(run_dir))
    scores = evaluate_file(classifier, labelled, batch_size=batch_size)
    print("\n".join(scores.lines), file=sys.stderr)
    _print_table([(name, f"{value:.4f}") for name, value in scores.metrics.items()])
    print()
    heading = ("label", "precision", "recall", "f1", "rows")
    rows = ((c.label, *(f"{x:.4f}" for x in (c.precision, c.recall, c.f1)), f"{c.support:,}") for c in scores.per_class)
    _print_table([heading, *rows])
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


def _print_table(rows: Sequence[Sequence[str]]) -> None:
    """Print rows as aligned columns; a last column may be as wide as it likes."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        print("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())


def main() -> None:
    """Run the command line."""
    app()
