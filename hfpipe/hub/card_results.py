"""What came out and of what: the sections of a card on scores, labels, data and training."""

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from hfpipe.hub.card_evaluation import calibration_lines, ladder_lines, say_interval, verdict_lines
from hfpipe.hub.card_facts import PARTS, CardFacts
from hfpipe.hub.card_text import cell_code, code, number, plain, share, shorten, table
from hfpipe.hub.files import CURVE
from hfpipe.records.work import MEAN_ROWS

MAX_EVALUATIONS = 10
# settings that say what is trained on, where things lie, or what is shown: other sections have them
_ELSEWHERE = (
    *("train_file", "validation_file", "test_file", "dataset_name", "dataset_mixture", "model_name_or_path"),
    *("sample_texts", "sample_prompts", "sample_max_new_tokens", "label_names", "output_dir", "run_name"),
    *("logging_steps", "logging_strategy", "logging_first_step", "disable_tqdm", "report_to", "fresh_start"),
    *("save_strategy", "save_steps", "save_total_limit", "eval_strategy", "eval_steps", "num_processes"),
    *("push_to_hub", "hub_model_id", "hub_strategy", "hub_private_repo", "hub_revision", "hub_tag_steps"),
    *("use_cpu", "ddp_find_unused_parameters", "greater_is_better"),
    *("card_examples", "cache_dir", "resume_from_checkpoint", "text_column_names", "label_column_name"),
)
_ALWAYS = ("learning_rate", "num_train_epochs", "max_steps", "seed")


def result_lines(facts: CardFacts) -> Iterator[str]:
    """Yield the scores of the weights beside the card, a column a part."""
    scores = {prefix: facts.scores(prefix) for prefix in PARTS if facts.scores(prefix)}
    yield from ("## Results", "")
    if not scores:
        yield from ("These weights were not evaluated: no evaluation fell on their step.", "")
        return
    yield from verdict_lines(facts)
    names = dict.fromkeys(name for values in scores.values() for name in values)
    heading = ["metric", *(_part_heading(facts, PARTS[prefix]) for prefix in scores)]
    cells = [
        {name: number(value) + say_interval(facts, prefix, name) for name, value in own.items()}
        for prefix, own in scores.items()
    ]
    rows = [[name, *(own.get(name, "") for own in cells)] for name in names]
    yield from (*table(heading, rows), "")
    if any(cell.endswith(")") for own in cells for cell in own.values()):
        yield from ("In brackets: 95 % intervals, by resampling the rows.", "")
    yield from (f"{_which_weights(facts)} {_how_chosen(facts)}".rstrip(), "")
    yield from ladder_lines(facts)
    yield from calibration_lines(facts)


def label_lines(facts: CardFacts) -> Iterator[str]:
    """Yield the labels with their rows and, where they may be shown, a text of each."""
    labels: Mapping[str, Mapping[str, int]] = facts.run["data"].get("labels", {})
    if facts.is_language_model or not labels:
        return
    parts = [part for part in ("train", *PARTS.values()) if any(part in counts for counts in labels.values())]
    examples = dict(facts.examples)
    heading = ["label", *(f"{part} rows" for part in parts), *(["a text of the validation part"] if examples else [])]
    rows = [
        [
            plain(label),
            *(f"{counts.get(part, 0):,}" for part in parts),
            *([plain(shorten(examples.get(label, "")))] if examples else []),
        ]
        for label, counts in labels.items()
    ]
    lines = table(heading, rows)
    if examples:
        lines[1] = f"{lines[1].removesuffix('---: |')}--- |"
    yield from ("## Labels", "", *lines, "")
    if examples:
        yield from ("The texts are quoted from the data, shortened; they may name real persons.", "")


def data_lines(facts: CardFacts) -> Iterator[str]:
    """Yield what became of the rows of each part."""
    unit = "documents" if facts.is_language_model else "rows"
    parts = {part: facts.part(part) for part in ("train", *PARTS.values()) if facts.part(part)}
    owner = "" if facts.data_sets else "files of the author, "
    yield from ("## Data", "", f"Source: {owner}{linked_data(facts)}.", "", *_mixture(facts))
    rows = [[part, f"{own['read']:,}", f"{own['used']:,}", _left_out(own)] for part, own in parts.items()]
    lines = table(["part", f"{unit} read", "used", "left out or used elsewhere"], rows)
    lines[1] = f"{lines[1].removesuffix('---: |')}--- |"
    yield from (*lines, "")
    files = facts.run["data"].get("files", ())
    if facts.settings.get("streaming"):
        size = sum(file["size_bytes"] or 0 for file in files)
        told = f"{len(files):,} file{'' if len(files) == 1 else 's'}" + (f" ({size / 1e6:,.1f} MB)" if size else "")
        yield from (f"The training part was a stream of {told}, read while it was trained on; repeats stayed in.", "")
    if files and len(files) <= MAX_EVALUATIONS and all(file["sha256"] for file in files):  # a stream has no hashes
        names = facts.settings.get("dataset_name") is None
        shown = [f"{code(file['name'].split('/')[-1])} " if names else "" for file in files]
        listed = [f"{name}`sha256 {file['sha256'][:16]}`" for name, file in zip(shown, files, strict=True)]
        yield from (f"Files as read: {', '.join(listed)}.", "")


def _mixture(facts: CardFacts) -> Iterator[str]:
    """Yield a table of the sources of a mixture, where the record has one."""
    sources = facts.run.get("mixture") or {}
    rows = [
        [plain(name), number(own["weight"]), f"{own['documents']:,}", f"{own['tokens']:,}", f"{own['blocks_used']:,}"]
        for name, own in sources.items()
    ]
    if rows:
        heading = ["source", "weight", "training documents", "tokens", f"blocks of {_block(facts)} in an epoch"]
        yield from (*table(heading, rows), "")


def _block(facts: CardFacts) -> str:
    return f"{facts.settings['block_size']:,} tokens"


def training_lines(facts: CardFacts) -> Iterator[str]:
    """Yield the hyperparameters that were set, the curve and the evaluations on the way."""
    settings = {
        key: facts.settings[key]
        for key, setting in facts.run["config"].items()
        if key not in _ELSEWHERE and key in facts.settings and _is_set(key, setting)
    }
    if facts.settings.get("max_steps"):  # it decides
        settings.pop("num_train_epochs", None)
    rows = [[f"`{key}`", _value(value)] for key, value in settings.items()]
    rows.append(["rows per step", plain(_rows_per_step(facts))])
    if facts.is_language_model:
        count = facts.run["rows_per_step"] * facts.settings["block_size"]
        rows.append(["tokens per step", f"{count:,} = {facts.run['rows_per_step']:,} rows x {_block(facts)}"])
    rows.append(["precision", {"no": "float32"}.get(str(facts.run["precision"]), str(facts.run["precision"]))])
    yield from ("## Training", "", *table(["setting", "value"], rows, numbers_from=2), "")
    yield from (f"![training and evaluation loss over steps]({CURVE})", "")
    evaluations = _evaluations(facts)
    if evaluations:
        yield from (*evaluations, "")
        if any(line.startswith("| **") for line in evaluations):
            yield from ("The row in bold is that of these weights.", "")


def environment_lines(facts: CardFacts) -> Iterator[str]:
    """Yield versions and hardware."""
    versions = ", ".join(f"{name} {version}" for name, version in facts.run["versions"].items() if version)
    hardware = facts.run["hardware"]
    gpus = hardware.get("gpus") or []
    processors = f"{len(gpus):,} x {gpus[0]}" if gpus else f"{hardware.get('cores')} cores of {hardware.get('cpu')}"
    yield from ("## Environment", "", *_size(facts), f"- Versions: {plain(versions)}")
    yield from (f"- Hardware: {plain(processors)}, {_processes(facts)}", "")


def _size(facts: CardFacts) -> Iterator[str]:
    known = facts.run.get("parameters", {})
    count, trainable = known.get("count"), known.get("trainable")
    if count and facts.settings.get("use_peft"):
        yield f"- Model: {count:,} parameters with the adapter" + (
            f", {trainable:,} of them trained" if trainable else ""
        )
    elif count:
        yield f"- Model: {count:,} parameters ({known.get('class')})"


def _part_heading(facts: CardFacts, part: str) -> str:
    rows = facts.part(part).get("used")
    unit = "documents" if facts.is_language_model else "rows"
    return f"{part} ({rows:,} {unit})" if rows is not None else part


def _which_weights(facts: CardFacts) -> str:
    steps = facts.run.get("steps")
    if not facts.is_finished:
        return f"These are the weights of step {facts.step:,}, while training was still under way."
    return f"These are the weights of step {facts.step:,}" + (f" of {steps:,}." if steps else ".")


def _how_chosen(facts: CardFacts) -> str:
    if not (facts.is_finished and facts.settings.get("load_best_model_at_end")):
        return ""
    metric = facts.settings.get("metric_for_best_model", "loss")
    return f"They were chosen by `{metric}` on the validation part, whose scores flatter them a little for that."


def linked_data(facts: CardFacts) -> str:
    """Return what the data are called, with links to those on the Hub."""
    links = [f"[{name}](https://huggingface.co/datasets/{name})" for name in facts.data_sets]
    return " and ".join([*links, *([code(facts.files)] if facts.files else [])]) or code(facts.data_name)


def _left_out(part: Mapping[str, Any]) -> str:
    reasons = part.get("left_out", {})
    return ", ".join(f"{rows['count']:,} {reason.replace('_', ' ')}" for reason, rows in reasons.items()) or "none"


def _is_set(key: str, setting: Mapping[str, Any]) -> bool:
    if setting["value"] is None:
        return False
    return setting["origin"] not in ("", "default") or key in _ALWAYS


def _value(value: object) -> str:
    """Return the value of a setting as a cell shows it: names and texts as code, as they would be written."""
    if isinstance(value, list):
        return ", ".join(map(_value, value))
    if isinstance(value, str) and value and value == " ".join(value.split()):
        return cell_code(value)
    if isinstance(value, int | float) and not isinstance(value, bool):
        return str(value)
    return cell_code(json.dumps(value, ensure_ascii=False))


def _rows_per_step(facts: CardFacts) -> str:
    batch = facts.settings.get("per_device_train_batch_size", "?")
    windows = facts.settings.get("gradient_accumulation_steps", 1)
    budget = facts.settings.get("max_tokens_per_batch")
    if budget is not None:
        mean = facts.run.get(MEAN_ROWS)
        told = "as many as fit in" if mean is None else f"{mean:,.1f} on average, as many as fit in"
        positions = f"{facts.run['tokens_per_step']:,} token positions = {budget:,} a device"
        return f"{told} {positions} x {windows} accumulated x {_processes(facts)}"
    return f"{facts.run['rows_per_step']:,} = {batch} a device x {windows} accumulated x {_processes(facts)}"


def _processes(facts: CardFacts) -> str:
    count = int(facts.run["world_size"])
    return f"{count:,} process{'' if count == 1 else 'es'}"


def _evaluations(facts: CardFacts) -> list[str]:
    """Return a table of at most ten evaluations, spread over the run, the one of these weights among them."""
    metric = f"eval_{facts.settings.get('metric_for_best_model', 'loss')}"
    columns = list(dict.fromkeys(("eval_loss", metric)))
    events = [event for event in facts.history if "eval_loss" in event]
    kept = _spread(events, facts.step)
    rows = []
    for event in kept:
        before = [each["loss"] for each in facts.history if each["step"] <= event["step"] and "loss" in each]
        values = [before[-1] if before else None, *(event.get(column) for column in columns)]
        epoch = event.get("epoch")
        step = f"**{event['step']:,}**" if event["step"] == facts.step else f"{event['step']:,}"
        rows.append([step, "" if epoch is None else f"{epoch:.2f}", *map(_shown, values)])
    heading = ["step", "epoch", "training loss", *(f"validation {name.removeprefix('eval_')}" for name in columns)]
    return table(heading, rows, numbers_from=0) if rows else []


def _spread(events: Sequence[Mapping[str, Any]], step: int) -> list[Mapping[str, Any]]:
    if len(events) <= MAX_EVALUATIONS:
        return list(events)
    places = {round(index * (len(events) - 1) / (MAX_EVALUATIONS - 2)) for index in range(MAX_EVALUATIONS - 1)}
    return [event for place, event in enumerate(events) if place in places or event["step"] == step]


def _shown(value: float | None) -> str:
    return "" if value is None else number(value)


def unread_share(part: Mapping[str, Any]) -> str | None:
    """Return the share of a part's texts that are longer than what is read of them; None where none is."""
    over_long = part.get("noted", {}).get("over_long", {}).get("count", 0)
    return share(over_long, part["used"]) if over_long and part.get("used") else None
