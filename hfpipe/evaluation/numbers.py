"""Numbers as a report and a card say them, and which way is better.

Shares are said in per cent and their differences in points; everything else in four digits that count.
"""

from hfpipe.config.plan import LOWER_IS_BETTER

_SHARES = ("accuracy", "balanced_accuracy", "subset_accuracy", "hamming_loss", "precision", "recall", "f1")
_WORDS = {
    "f1": "F1",
    "f1_macro": "macro F1",
    "f1_micro": "micro F1",
    "f1_weighted": "weighted F1",
    "f1_samples": "F1 over rows",
    "precision_macro": "macro precision",
    "precision_micro": "micro precision",
    "recall_macro": "macro recall",
    "recall_micro": "micro recall",
    "precision_weighted": "weighted precision",
    "recall_weighted": "weighted recall",
    "mcc": "Matthews correlation",
    "roc_auc": "ROC AUC",
    "average_precision": "average precision",
    "brier": "Brier score",
    "ece": "expected calibration error",
    "rmse": "root mean squared error",
    "mse": "mean squared error",
    "mae": "mean absolute error",
    "r2": "R²",
}
_READINGS = {"_uncalibrated": ", uncalibrated", "_at_thresholds": " at thresholds"}
"""The ends of names of scores from logits that are read in another way than the rest."""

MEASURABLE_RATE = 1_000_000


def is_lower_better(metric: str) -> bool:
    """Tell whether less of `metric` is more."""
    return _split(metric)[0] in LOWER_IS_BETTER


def is_share(metric: str) -> bool:
    """Tell whether `metric` is a share of something, between 0 and 1."""
    plain = _split(metric)[0]
    return plain in _SHARES or plain.startswith(("precision_", "recall_", "f1_"))


def say_metric(metric: str) -> str:
    """Return the name of a metric as people say it."""
    plain, reading = _split(metric)
    return _WORDS.get(plain, plain.replace("_", " ")) + reading


def _split(metric: str) -> tuple[str, str]:
    """Return a metric, and in words how the logits were read for it where that is another way."""
    return next(
        ((metric.removesuffix(end), told) for end, told in _READINGS.items() if metric.endswith(end)), (metric, "")
    )


def show_value(value: float | None, metric: str = "") -> str:
    """Return the value of a metric; a dash where it is not known."""
    if value is None:
        return "–"
    if is_share(metric):
        return f"{100 * value:.1f} %".replace("-", "−")
    if value != 0 and not 1e-3 <= abs(value) < 1e6:
        return f"{value:.3g}".replace("-", "−")
    digits = 4 if abs(value) < 10 else 2
    return f"{value:,.{digits}f}".replace("-", "−")


def show_range(low: float | None, high: float | None, metric: str = "") -> str:
    """Return the bounds of an interval, the unit once; nothing where there is none."""
    if low is None or high is None:
        return ""
    first = show_value(low, metric)
    return f"{first.removesuffix(' %')} to {show_value(high, metric)}"


def show_difference(value: float | None, metric: str) -> str:
    """Return a difference of two values without its sign: points of per cent, or as the metric itself."""
    if value is None:
        return "–"
    if is_share(metric):
        points = f"{100 * abs(value):.1f}"
        return f"{points} point{'' if points == '1.0' else 's'}"
    return show_value(abs(value))


def show_signed(value: float | None, metric: str) -> str:
    """Return a difference with its sign, in points of per cent or as the metric itself."""
    if value is None:
        return "–"
    shown = f"{100 * abs(value):.1f}" if is_share(metric) else show_value(abs(value))
    return f"{'−' if value < 0 else '+'}{shown}"


def show_p(value: float | None) -> str:
    """Return a p value with its sign of relation; nothing where there is none."""
    if value is None:
        return ""
    return "p < 0.001" if value < 0.001 else f"p = {value:.3f}" if value < 0.1 else f"p = {value:.2f}"


def show_count(value: int | None) -> str:
    """Return a count with separators; a dash where it is not known."""
    return "–" if value is None else f"{value:,}"


def show_seconds(value: float | None) -> str:
    """Return a time in the unit that suits it; a dash where it is not known."""
    if value is None:
        return "–"
    if value < 0.001:
        return "< 0.001 s"
    if value < 60:
        return f"{value:.2g} s" if value < 1 else f"{value:.1f} s"
    minutes, seconds = divmod(round(value), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours:,} h {minutes} min" if hours else f"{minutes} min {seconds} s"


def show_scoring_rate(value: float | None) -> str:
    """Return how many rows a second a model scored; beyond a million no figure: what took no time measures nothing."""
    return f"over {MEASURABLE_RATE:,}" if value is not None and value > MEASURABLE_RATE else show_rate(value)


def show_rate(value: float | None) -> str:
    """Return how many a second; a dash where it is not known."""
    if value is None:
        return "–"
    return f"{value:,.0f}" if value >= 10 else f"{value:.1f}"
