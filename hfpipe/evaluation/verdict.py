"""What a finished run is worth in two or three sentences: how good, against what, how sure.

It says nothing that the record does not: where a score has no interval, or there is no baseline, the words are missing.
The decision worth knowing: a run is said to beat a baseline only where the whole interval of their difference is on its
side; everything else is called not shown, however the two scores may look. Where thresholds were chosen it tells what
they give beside what the models are compared by.
"""

from dataclasses import dataclass
from typing import Literal

from hfpipe.evaluation.numbers import (
    is_lower_better,
    is_share,
    say_metric,
    show_difference,
    show_p,
    show_range,
    show_value,
)
from hfpipe.evaluation.record import CAUSAL_LM, BaselineRecord, ComparisonRecord, EvaluationRecord, MetricRecord

LABELS_TOLD = 6
_OF_DECISION = ("accuracy", "precision", "recall", "precision_micro", "recall_micro", "f1_micro")

Tone = Literal["better", "unclear", "worse", "plain"]


@dataclass(frozen=True)
class Verdict:
    """A verdict: its tone, the few words above it, and its sentences."""

    tone: Tone
    title: str
    sentences: tuple[str, ...]

    @property
    def text(self) -> str:
        """All sentences in a row."""
        return " ".join(self.sentences)


def judge_record(record: EvaluationRecord) -> Verdict:
    """Return the verdict on a run by its record."""
    score = _say_score(record)
    rival = find_best_baseline(record)
    said = (score, *_say_thresholds(record))
    if rival is None:
        return Verdict("plain", _say_value(record), (*said, *_say_reservations(record)))
    tone, sentence = _compare(record, rival)
    titles = {
        "better": "Better than the baselines" if len(record.baselines) > 1 else "Better than the baseline",
        "unclear": "Not shown to be better than a baseline",
        "worse": "Worse than a baseline",
        "plain": _say_value(record),
    }
    return Verdict(tone, titles[tone], (*said, sentence, *_say_reservations(record)))


def find_score(record: EvaluationRecord) -> MetricRecord | None:
    """Return the headline score of the part the model is judged by."""
    part = record.parts.get(record.judged_part)
    return part.metrics.get(record.headline) if part else None


def find_best_baseline(record: EvaluationRecord) -> BaselineRecord | None:
    """Return the baseline with the best headline score on the part the model is judged by; None where none has one."""
    scored = [each for each in record.baselines if score_of(each, record) is not None]
    sign = -1 if is_lower_better(record.headline) else 1
    return max(scored, key=lambda each: sign * (score_of(each, record) or 0.0), default=None)


def score_of(baseline: BaselineRecord, record: EvaluationRecord) -> float | None:
    """Return the headline score of a baseline on the part the model is judged by."""
    part = baseline.parts.get(record.judged_part)
    score = part.metrics.get(record.headline) if part else None
    return score.value if score else None


def find_tone(comparison: ComparisonRecord | None) -> Tone:
    """Return which way a comparison went, by the interval of the difference; 'plain' where there is none."""
    if comparison is None or comparison.low is None or comparison.high is None:
        return "plain"
    low, high = comparison.low, comparison.high
    if is_lower_better(comparison.metric):
        low, high = -high, -low
    return "better" if low > 0 else "worse" if high < 0 else "unclear"


def _say_score(record: EvaluationRecord) -> str:
    score, part = find_score(record), record.judged_part
    if score is None or score.value is None:
        return f"The model has no {say_metric(record.headline)} on the {part} part."
    unit = "blocks" if record.problem_type == CAUSAL_LM else "rows"
    rows = f"the {record.parts[part].rows:,} {part} {unit}"
    spread = show_range(score.low, score.high, record.headline)
    told = f" (95 % interval {spread})" if spread else ""
    shown = show_value(score.value, record.headline)
    model = "Without thresholds the model" if _depends_on_thresholds(record) else "The model"
    if record.headline == "accuracy":
        return f"{model} gives {shown} of {rows} the right label{told}."
    if record.headline == "bits_per_byte":
        return f"The model needs {shown} bits for a byte of {rows}{told}."
    without = ", without thresholds," if _depends_on_thresholds(record) else ""
    return f"On {rows} the model's {say_metric(record.headline)}{without} is {shown}{told}."


def _depends_on_thresholds(record: EvaluationRecord) -> bool:
    """Tell whether thresholds were chosen, and the headline score would be another by them."""
    return record.thresholds is not None and (is_share(record.headline) or record.headline == "mcc")


def _say_thresholds(record: EvaluationRecord) -> tuple[str, ...]:
    part = record.parts.get(record.judged_part)
    if record.thresholds is None or part is None:
        return ()
    names = {name: part.metrics.get(f"{name}_at_thresholds") for name in _OF_DECISION}
    told = [f"{say_metric(name)} {show_value(own.value, name)}" for name, own in names.items() if own is not None]
    listed = f": {', '.join(told[:-1])} and {told[-1]}" if len(told) > 1 else ""
    return (f"By its thresholds for {record.thresholds.aim}, which predict applies{listed}.",) if listed else ()


def say_decision(record: EvaluationRecord) -> str:
    """Return from which probabilities on labels are given, as 'good from 0.31 on, else bad'; '' without thresholds."""
    if record.thresholds is None:
        return ""
    found = [f"{label} from {show_value(limit)} on" for label, limit in record.thresholds.values.items()]
    if len(found) == 1 and len(record.label_names) == 2:
        (own,) = record.thresholds.values
        return f"{found[0]}, else {next(name for name in record.label_names if name != own)}"
    more = f" and {len(found) - LABELS_TOLD:,} more" if len(found) > LABELS_TOLD else ""
    return ", ".join(found[:LABELS_TOLD]) + more


def _say_value(record: EvaluationRecord) -> str:
    score = find_score(record)
    return f"{show_value(score.value if score else None, record.headline)} {say_metric(record.headline)}"


def _compare(record: EvaluationRecord, rival: BaselineRecord) -> tuple[Tone, str]:
    own, comparison = find_score(record), rival.comparison
    theirs = score_of(rival, record)
    which = f"the best of {len(record.baselines)} baselines" if len(record.baselines) > 1 else "the baseline"
    named = f"{which}, {rival.title} ({show_value(theirs, record.headline)})"
    tone = find_tone(comparison)
    difference = comparison.difference if comparison else None
    if difference is None and own is not None and own.value is not None and theirs is not None:
        difference = own.value - theirs
    size = show_difference(difference, record.headline)
    told = _say_evidence(comparison)
    if tone == "better":
        return tone, f"It beats {named}, by {size}{told}."
    if tone == "worse":
        return tone, f"It is worse than {named}, by {size}{told}: as it is, use that one."
    if tone == "unclear":
        return tone, f"It is not shown to beat {named}: the difference of {size}{told} may be chance."
    return tone, f"It differs from {named} by {size}; how sure that is was not computed."


def _say_evidence(comparison: ComparisonRecord | None) -> str:
    if comparison is None:
        return ""
    metric, low, high = comparison.metric, comparison.low, comparison.high
    if low is not None and high is not None and is_lower_better(metric):
        low, high = -high, -low
    unit = " points" if is_share(metric) else ""
    spread = show_range(low, high, metric).replace(" %", "") + unit if low is not None else ""
    facts = [f"95 % interval {spread}" if spread else "", show_p(comparison.p_value), comparison.test]
    told = ", ".join(fact for fact in facts if fact)
    return f" ({told})" if told else ""


def _say_reservations(record: EvaluationRecord) -> tuple[str, ...]:
    if record.judged_part == "test" or record.problem_type == CAUSAL_LM:
        return ()
    told = "There was no test part: the validation part also chose the weights, which flatters the model a little."
    return (told,)
