"""The charts of a report, from the history of a run and from the predictions of a part."""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace

import numpy as np
from sklearn import metrics as scikit

from hfpipe.config.sections import MULTI_LABEL, REGRESSION, SINGLE_LABEL
from hfpipe.evaluation.numbers import is_share, say_metric, show_value
from hfpipe.evaluation.predictions import Predictions
from hfpipe.evaluation.probabilities import assign_bins
from hfpipe.report.files import Events, RunFiles
from hfpipe.report.line_chart import Axis, Chart, Line, draw_chart, fit_axis, thin, thin_by_length
from hfpipe.report.plots import SMOOTH_FROM_POINTS, find_series, running_mean
from hfpipe.report.told_rows import ScoredPart

SHARE = Axis("", 0.0, 1.0, is_share=True)
MAX_CURVES = 6
MAX_DOTS = 1_500
_SCORES = ("accuracy", "f1_macro", "f1_micro", "f1", "mcc", "rmse", "r2", "perplexity", "bits_per_byte")
MAX_SCORES = 3


def draw_curves(files: RunFiles) -> list[Chart]:
    """Return the curves of training: loss, scores on validation, learning rate."""
    charts = [_draw_losses(files)]
    kept = files.kept_step
    shares, others = _find_scores(files.history)
    if shares:
        lines = [_evaluation(files.history, name, place) for place, name in enumerate(shares)]
        y = fit_metric_axis(shares[0], lines)
        names = _enumerate(map(say_metric, shares))
        charts.append(_over_steps(lines, y, alt=f"{names} on validation over steps.", caption=names, mark=kept))
    for name in () if shares else others[:1]:
        line = _evaluation(files.history, name, 0)
        caption = say_metric(name)
        y = fit_axis("", [line])
        charts.append(_over_steps([line], y, alt=f"{caption} on validation over steps.", caption=caption, mark=kept))
    steps, rates = find_series(files.history, "learning_rate")
    if len(steps) > 1:
        line = Line("learning rate", *thin(steps, rates), place=3, has_dots=len(steps) < SMOOTH_FROM_POINTS)
        y = fit_axis("", [line], from_zero=True)
        charts.append(_over_steps([line], y, alt="Learning rate over steps.", caption="learning rate"))
    return charts


def fit_metric_axis(metric: str, lines: Sequence[Line]) -> Axis:
    """Return an axis that holds all points of lines of a metric; a share is shown in per cent, as tables show it."""
    axis = fit_axis("", lines)
    if not is_share(metric):
        return axis
    return Axis("", max(axis.low, 0.0), min(axis.high, 1.0), is_share=True)


def draw_reliability(part: ScoredPart) -> Chart:
    """Return how often the model is right where it is so sure, as trained and at its temperature."""
    lines = reliability_lines(part)
    start = min(float(np.floor(min(line.x.min(), line.y.min()) * 10) / 10) for line in lines)
    axis = Axis("how sure the model is", start, 1.0, is_share=True)
    alt = "How often the model is right (upwards) where it is so sure (across). On the diagonal it says the truth."
    y = Axis("", start, 1.0, is_share=True)
    return draw_chart(lines, axis, y, alt=alt, caption="how often it is right, by how sure it is", diagonal=True)


def reliability_lines(part: ScoredPart) -> list[Line]:
    """Return the lines of a reliability diagram: as trained, and at the part's temperature where there is one."""
    lines = [_reliability_line("as trained", ScoredPart(part.predictions), place=1)]
    if part.temperature != 1.0:
        lines.append(_reliability_line(f"at temperature {part.temperature:.3g}", part, place=0))
    return lines


def _reliability_line(name: str, part: ScoredPart, *, place: int) -> Line:
    """Return mean confidence and share of right answers of bins of equally many rows."""
    confidence, right = part.confidence
    bins = assign_bins(confidence)
    counts = np.bincount(bins)
    x, y = (np.bincount(bins, weights=values) / counts for values in (confidence, right))
    return Line(name, x, y, place=place, has_dots=True)


def draw_rankings(part: ScoredPart) -> Iterator[Chart]:
    """Yield the curves of precision over recall and of the ROC, a line a label; of two labels that of the second."""
    precision, roc = [], []
    for place, (name, scores, targets) in enumerate(_against_rest(part)):
        y, x, _ = scikit.precision_recall_curve(targets, scores, drop_intermediate=True)
        average = show_value(float(scikit.average_precision_score(targets, scores)))
        precision.append(Line(f"{name}, average precision {average}", *thin_by_length(x, y), place=place))
        x, y, _ = scikit.roc_curve(targets, scores)
        area = show_value(float(scikit.roc_auc_score(targets, scores)))
        roc.append(Line(f"{name}, area {area}", *thin_by_length(x, y), place=place))
    if not precision:
        return
    recall = Axis("recall", 0.0, 1.0, is_share=True)
    alt = f"Precision over recall of {_enumerate(line.name for line in precision)}."
    chart = draw_chart(precision, recall, SHARE, alt=alt, caption="precision over recall")
    yield replace(chart, legend=tuple(precision))
    false = Axis("false positives among the others", 0.0, 1.0, is_share=True)
    alt = (
        f"Share of a label's rows found, over the share of the others taken for it: {_enumerate(e.name for e in roc)}."
    )
    chart = draw_chart(roc, false, SHARE, alt=alt, caption="ROC: found over falsely found", diagonal=True)
    yield replace(chart, legend=tuple(roc))


def draw_predicted(predictions: Predictions) -> Chart:
    """Return predicted numbers over true ones, 1,500 rows at most."""
    count = len(predictions)
    kept = np.unique(np.linspace(0, count - 1, min(count, MAX_DOTS)).round().astype(np.int64))
    line = Line("row", predictions.targets[kept].astype(np.float64), predictions.logits[kept, 0].astype(np.float64))
    both = np.concatenate([line.x, line.y])
    y = fit_axis("", [Line("", both, both)])
    alt = "Predicted numbers (upwards) over true ones (across); on the diagonal they are equal."
    shown = Line("", line.x, line.y, is_dots=True)
    x = replace(y, label="true number")
    return draw_chart([shown], x, y, alt=alt, caption="predicted number over true number", diagonal=True)


def _against_rest(part: ScoredPart) -> Iterator[tuple[str, np.ndarray, np.ndarray]]:
    """Yield names of labels, their probabilities and where they are, the commonest labels first; at most six."""
    predictions = part.predictions
    names, targets = predictions.label_names, predictions.targets
    if predictions.problem_type == REGRESSION or len(names) < 2:
        return
    present = targets if predictions.problem_type == MULTI_LABEL else np.eye(len(names))[targets]
    counts = present.sum(axis=0)
    usable = [label for label in np.argsort(-counts, kind="stable") if 0 < counts[label] < len(predictions)]
    if predictions.problem_type == SINGLE_LABEL and len(names) == 2:
        usable = [label for label in usable if label == 1]
    for label in usable[:MAX_CURVES]:
        yield names[label], part.scores[:, label], present[:, label]


def _draw_losses(files: RunFiles) -> Chart:
    steps, losses = find_series(files.history, "loss")
    lines = []
    if len(steps) >= SMOOTH_FROM_POINTS:
        lines.append(Line("", *thin(steps, losses), is_faint=True))
        losses = running_mean(losses, len(steps) // SMOOTH_FROM_POINTS)
    if len(steps):
        lines.append(Line("training", *thin(steps, losses)))
    if any("eval_loss" in event for event in files.history):
        lines.append(_evaluation(files.history, "loss", 1, name="validation"))
    alt = "Training and validation loss over steps."
    return _over_steps(lines, fit_axis("", lines), alt=alt, caption="loss (nats)", mark=files.kept_step)


def _over_steps(lines: Sequence[Line], y: Axis, *, alt: str, caption: str, mark: int | None = None) -> Chart:
    return draw_chart(lines, fit_axis("step", lines, of_x=True), y, alt=alt, caption=caption, mark_x=mark)


def _evaluation(history: Events, metric: str, place: int, *, name: str = "") -> Line:
    steps, values = find_series(history, f"eval_{metric}")
    return Line(name or say_metric(metric), *thin(steps, values), place=place, has_dots=len(steps) < SMOOTH_FROM_POINTS)


def _find_scores(history: Events) -> tuple[list[str], list[str]]:
    """Return the scores evaluations have, those that are shares and the others, the telling ones of each."""
    logged = Counter(key.removeprefix("eval_") for event in history for key in event if key.startswith("eval_"))
    # one evaluation is no curve
    known = [name for name in _SCORES if logged[name] > 1]
    return [name for name in known if is_share(name)][:MAX_SCORES], [name for name in known[::-1] if not is_share(name)]


def _enumerate(names: Iterable[str]) -> str:
    listed = list(names)
    return listed[0] if len(listed) == 1 else f"{', '.join(listed[:-1])} and {listed[-1]}"
