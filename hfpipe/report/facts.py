"""What a run was: model and data in a sentence, rows, labels, settings, environment and cost, as tables of words.

Each fact comes from the record; one that is unknown is left out. Folders of this machine are cut to their last name.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from hfpipe.config.sections import MULTI_LABEL, REGRESSION
from hfpipe.evaluation.numbers import show_count, show_rate, show_seconds
from hfpipe.records.places import scrub, shorten_names
from hfpipe.records.work import MEAN_ROWS
from hfpipe.report.files import RunFiles

Pairs = Sequence[tuple[str, str]]

PARTS = ("train", "validation", "test")
_ALWAYS = ("learning_rate", "num_train_epochs", "max_steps", "seed")
_NOT_SHOWN = ("sample_texts", "sample_prompts", "label_names", "output_dir", "run_name", "fresh_start", "disable_tqdm")
MAX_FILES = 3


@dataclass(frozen=True)
class PartRows:
    """What became of the rows of a part."""

    name: str
    read: int
    used: int
    left_out: str


@dataclass(frozen=True)
class RunFacts:
    """The facts of a run as its report shows them."""

    kind: str
    model: str
    data: str
    parts: Sequence[PartRows]
    labels: Sequence[tuple[str, Mapping[str, int]]]
    settings: Pairs
    environment: Pairs
    cost: Pairs
    unit: str


def describe_facts(files: RunFiles) -> RunFacts:
    """Return the facts of a run."""
    settings = scrub(files.settings)
    unit = "documents" if files.is_language_model else "rows"
    labels: Mapping[str, Mapping[str, int]] = files.run.get("data", {}).get("labels") or {}
    return RunFacts(
        _say_kind(files, settings),
        _say_model(settings),
        _say_data(settings),
        list(_find_parts(files)),
        list(labels.items()),
        list(find_settings(files)),
        list(_describe_environment(files.run)),
        list(_describe_cost(files)),
        unit,
    )


def find_settings(files: RunFiles) -> Iterator[tuple[str, str]]:
    """Yield the settings that were given or planned, and those that always matter, as they would be written."""
    shown = scrub({key: setting["value"] for key, setting in files.run["config"].items()})
    for key, setting in files.run["config"].items():
        is_given = setting["value"] is not None and not str(setting["origin"]).startswith("default")
        if key in shown and key not in _NOT_SHOWN and ((is_given and setting["origin"] != "") or key in _ALWAYS):
            yield key, show_setting(shown[key])


def show_setting(value: object) -> str:
    """Return the value of a setting as it would be written in a file."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if value is None:
        return "–"
    if isinstance(value, list | tuple):
        return ", ".join(map(show_setting, value)) or "none"
    if isinstance(value, Mapping):
        return ", ".join(f"{key}: {show_setting(each)}" for key, each in value.items())
    return str(value)


def _say_kind(files: RunFiles, settings: Mapping[str, Any]) -> str:
    if files.is_language_model:
        return "Causal language model"
    names = files.run.get("label_names") or []
    if settings.get("problem_type") == REGRESSION:
        return "Regression of texts"
    kind = "Multi-label classifier" if settings.get("problem_type") == MULTI_LABEL else "Classifier"
    listed = ", ".join(names) if 0 < len(names) <= 6 else f"{len(names):,} labels"
    return f"{kind} of texts: {listed}"


def _say_model(settings: Mapping[str, Any]) -> str:
    start = settings.get("model_name_or_path")
    adapter = " with LoRA" if settings.get("use_peft") else ""
    if start:
        return f"{start}{adapter}"
    size = settings.get("model_size")
    kind = settings.get("model_type")
    return " ".join(str(word) for word in (size, kind) if word) + ", from scratch"


def _say_data(settings: Mapping[str, Any]) -> str:
    mixture = settings.get("dataset_mixture") or ()
    names = []
    for source in (settings, *mixture):
        given = source.get("train_file") or ()
        names += [given] if isinstance(given, str) else list(given)
        names += [source["dataset_name"]] if source.get("dataset_name") else []
    more = f" and {len(names) - MAX_FILES:,} more" if len(names) > MAX_FILES else ""
    return ", ".join(map(str, names[:MAX_FILES])) + more or "own data"


def _find_parts(files: RunFiles) -> Iterator[PartRows]:
    parts = files.run.get("data", {}).get("parts", {})
    for name in PARTS:
        if name in parts:
            own = parts[name]
            reasons = own.get("left_out", {}).items()
            left_out = ", ".join(f"{rows['count']:,} {reason.replace('_', ' ')}" for reason, rows in reasons)
            yield PartRows(name, own["read"], own["used"], left_out)


def _describe_environment(run: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    hardware = run.get("hardware", {})
    gpus = hardware.get("gpus") or []
    processor = f"{len(gpus):,} × {gpus[0]}" if gpus else f"{hardware.get('cores')} cores of {hardware.get('cpu')}"
    count = int(run.get("world_size", 1))
    yield "hardware", f"{processor}, {count:,} process{'' if count == 1 else 'es'}"
    if hardware.get("memory_bytes"):
        yield "memory", f"{hardware['memory_bytes'] / 2**30:,.0f} GiB"
    yield "precision", {"no": "float32"}.get(str(run.get("precision")), str(run.get("precision")))
    versions = run.get("versions", {}).items()
    yield "versions", ", ".join(f"{name} {version}" for name, version in versions if version)
    if run.get("git_commit"):
        yield "git commit", str(run["git_commit"])
    files = [file for file in run.get("data", {}).get("files", ()) if file.get("sha256")]
    names = shorten_names([file["name"] for file in files])
    for name, file in list(zip(names, files, strict=True))[:MAX_FILES]:
        yield name, f"sha256 {file['sha256'][:16]}"


def _describe_cost(files: RunFiles) -> Iterator[tuple[str, str]]:
    run, model = files.run, files.evaluation.model if files.evaluation else None
    count = run.get("parameters", {}).get("count")
    if count:
        trainable = run["parameters"].get("trainable", count)
        yield "parameters", show_count(count) + (f", {trainable:,} of them trained" if trainable != count else "")
    if run.get("steps"):
        epochs = files.metrics.get("epoch")
        yield "steps", f"{run['steps']:,}" + (f" ({epochs:.3g} epochs)" if epochs else "")
    rows = run.get("rows_per_step")
    if rows:
        block = files.settings.get("block_size") if files.is_language_model else None
        yield "rows a step", f"{rows:,}" + (f" × {block:,} tokens = {rows * block:,}" if block else "")
    elif run.get("tokens_per_step"):
        mean = f", {run[MEAN_ROWS]:,.1f} rows on average" if MEAN_ROWS in run else ""
        yield "tokens a step", f"at most {run['tokens_per_step']:,} positions{mean}"
    if model is not None and model.train_seconds is not None:
        yield "training time", show_seconds(model.train_seconds)
    pace = files.metrics.get("train_samples_per_second")
    if pace and files.is_language_model:
        yield "training pace", f"{show_rate(pace * files.settings['block_size'])} tokens a second"
    elif pace:
        yield "training pace", f"{show_rate(pace)} rows a second"
    if model is not None and model.rows_per_second is not None:
        unit = "blocks" if files.is_language_model else "rows"
        yield "scoring pace", f"{show_rate(model.rows_per_second)} {unit} a second"
    sessions = run.get("sessions", ())
    if len(sessions) > 1:
        yield "sessions", f"{len(sessions):,}"
