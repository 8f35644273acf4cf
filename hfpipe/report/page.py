"""The report of a run, or of several side by side: one HTML file that needs nothing else.

It is made of the files a run leaves, never of the model, so it can be drawn again at any time; what lacks its file is
left out and said to be. Everything that comes from data or settings is escaped, secrets are taken out, and the page
forbids itself scripts and the network. The decision worth knowing: charts are drawn by hand as SVG without colours, so
one file is read on light and dark screens and on paper.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup, escape

from hfpipe.evaluation import numbers
from hfpipe.evaluation.verdict import find_best_baseline, find_score
from hfpipe.records.durable import write_whole
from hfpipe.records.run_directory import REPORT_FILE
from hfpipe.report.compare import compare_runs
from hfpipe.report.files import read_run_files
from hfpipe.report.rows import shorten_place
from hfpipe.report.view import RunView, view_run

_TEMPLATES = Path(__file__).parent / "templates"
# what a browser does not show, or shows where it does not belong
_NOT_TEXT = dict.fromkeys((*range(9), 11, 12, *range(14, 32), 127, *range(0xD800, 0xE000)))


@dataclass(frozen=True)
class Tile:
    """One number at the top of a report."""

    name: str
    figure: str
    about: str


def build_report(run_dirs: Sequence[Path]) -> str:
    """Return the report of one run, or of several compared, as HTML.

    Raises:
        CheckpointError: If a folder is no run, or a file of it cannot be read.
    """
    files = [read_run_files(run_dir) for run_dir in run_dirs]
    environment = _build_environment()
    style = Markup((_TEMPLATES / "style.css").read_text(encoding="utf-8"))
    if len(files) > 1:
        page = environment.get_template("compare.html.jinja").render(style=style, view=compare_runs(files))
    else:
        view = view_run(files[0])
        page = environment.get_template("run.html.jinja").render(
            style=style,
            view=view,
            sections=list(_find_sections(view)),
            tiles=list(_find_tiles(view)),
            metrics=_find_metrics(view),
        )
    return page.translate(_NOT_TEXT)


def write_report(run_dir: Path) -> None:
    """Write `report.html` of a run into its directory, whole.

    Raises:
        CheckpointError: If a file of the run cannot be read, or the report cannot be written.
    """
    write_whole(run_dir / REPORT_FILE, build_report([run_dir]))


def _build_environment() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(_TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.globals["zip"] = zip
    environment.filters.update(
        value=numbers.show_value,
        range=numbers.show_range,
        signed=numbers.show_signed,
        count=numbers.show_count,
        seconds=numbers.show_seconds,
        rate=numbers.show_scoring_rate,
        say=numbers.say_metric,
        p=numbers.show_p,
        percent=lambda share: f"{100 * share:.1f} %",
        place=shorten_place,
        unbroken=lambda words: words.replace(" %", "\N{NO-BREAK SPACE}%"),
        breakable=_break_names,
        capitalize_first=lambda words: words[:1].upper() + words[1:],
    )
    return environment


def _break_names(words: str) -> Markup:
    """Return words that a line may end in where names have their joints, rather than anywhere."""
    return escape(words).replace("/", Markup("/<wbr>")).replace("_", Markup("_<wbr>"))


def _find_sections(view: RunView) -> Iterator[tuple[str, str]]:
    """Yield id and title of each section that has something to show."""
    part = view.part
    if len(view.ladder) > 1:
        yield "ladder", "Against the baselines"
    if view.record is not None and view.record.parts:
        yield "scores", "Scores"
    if view.curves:
        yield "curves", "Training"
    if view.sources:
        yield "sources", "By source"
    if part is not None and part.per_class:
        yield "classes", "By label"
    if view.reliability or view.rankings:
        yield "calibration", "Probabilities"
    if view.groups:
        yield "groups", "By kind of text"
    if view.rows:
        yield "rows", "Where it fails"
    if view.continuations:
        yield "continuations", "Continuations through training"
    if view.facts.parts:
        yield "data", "Data"
    if view.findings is not None:
        yield "findings", "Findings in the data"
    yield "settings", "Settings, cost and environment"


def _find_tiles(view: RunView) -> Iterator[Tile]:
    record = view.record
    if record is None:
        return
    metric, part = record.headline, view.part
    score, rival = find_score(record), find_best_baseline(record)
    if score is not None:
        spread = numbers.show_range(score.low, score.high, metric)
        about = f"{spread} (95 %)" if spread else "without an interval"
        yield Tile(numbers.say_metric(metric), numbers.show_value(score.value, metric), about)
    decided = part.metrics.get(f"{metric}_at_thresholds") if part is not None else None
    if decided is not None:
        spread = numbers.show_range(decided.low, decided.high, metric)
        yield Tile(f"{numbers.say_metric(metric)} at thresholds", numbers.show_value(decided.value, metric), spread)
    if rival is not None and rival.comparison is not None:
        shown = numbers.show_signed(rival.comparison.difference, rival.comparison.metric)
        unit = " points" if numbers.is_share(rival.comparison.metric) else ""
        yield Tile("against the best baseline", f"{shown}{unit}", rival.title)
    unit = "blocks" if view.files.is_language_model else "rows"
    if part is not None:
        yield Tile(f"{record.judged_part} {unit}", numbers.show_count(part.rows), "scored")
    model = record.model
    pace = f"{numbers.show_rate(model.rows_per_second)} {unit} a second scored" if model.rows_per_second else ""
    yield Tile("training time", numbers.show_seconds(model.train_seconds), pace)


def _find_metrics(view: RunView) -> list[str]:
    """Return the metrics to show in their order; those of single sources have a section of their own."""
    if view.record is None:
        return []
    names = dict.fromkeys(name for part in view.record.parts.values() for name in part.metrics)
    sources = tuple(f"_{source.name}" for source in view.sources)
    return [name for name in names if not (sources and name.endswith(sources))]
