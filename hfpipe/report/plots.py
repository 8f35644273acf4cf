"""The loss curve of a run as a picture.

Values that are missing or not finite (null in a history) break a line instead of being bridged: a gap is a fact.
The decision worth knowing: pyplot is not used, so that drawing inside a training process neither needs a display
nor leaves figures behind in a global list.
"""

import io
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator

from hfpipe.records.durable import write_whole

TRAINING = "#2f6db3"
EVALUATION = "#c4501b"
QUIET = "#5f6670"

SMOOTH_FROM_POINTS = 40


def plot_loss_curve(history: Sequence[Mapping[str, Any]], path: Path) -> None:
    """Write a PNG to `path`: training and evaluation loss over steps, the learning rate below.

    From 40 logged losses on, a running mean is drawn over the single values. A history without any
    loss gives a picture that says so.

    Args:
        history: The events of a run; `step`, `loss`, `eval_loss` and `learning_rate` are read, null is unknown.
        path: File to write, in a folder that exists.
    """
    figure = Figure(figsize=(8.0, 5.2), dpi=150)
    FigureCanvasAgg(figure)
    # counted here: to have matplotlib find the margins takes longer than drawing
    margins = {"left": 0.125, "right": 0.97, "top": 0.885, "bottom": 0.1, "hspace": 0.12}
    losses, rates = figure.subplots(2, 1, sharex=True, height_ratios=(4, 1), gridspec_kw=margins)
    _draw_losses(losses, history)
    _draw_rates(rates, history)
    figure.align_ylabels((losses, rates))
    picture = io.BytesIO()
    figure.savefig(picture, format="png")
    write_whole(path, picture.getvalue())


def _draw_losses(axes: Axes, history: Sequence[Mapping[str, Any]]) -> None:
    steps, losses = find_series(history, "eval_loss")
    _draw_training(axes, *find_series(history, "loss"))
    if len(steps):
        label = f"evaluation loss{_state_lowest(steps, losses)}"
        axes.plot(steps, losses, color=EVALUATION, linewidth=1.6, marker="o", markersize=4.5, label=label)
    _style(axes, "loss (nats)")
    if axes.get_legend_handles_labels()[0]:
        axes.legend(frameon=False, loc="lower left", bbox_to_anchor=(0.0, 1.0), fontsize=9)  # above: it hides no line
    else:
        axes.set_yticks([])
        axes.text(0.5, 0.5, "no loss was logged", transform=axes.transAxes, ha="center", va="center", color=QUIET)


def _draw_training(axes: Axes, steps: np.ndarray, losses: np.ndarray) -> None:
    if len(steps) >= SMOOTH_FROM_POINTS:
        axes.plot(steps, losses, color=TRAINING, linewidth=0.7, alpha=0.35)
        reach = len(steps) // SMOOTH_FROM_POINTS
        label = f"training loss, mean of {2 * reach + 1:,} logged values"
        axes.plot(steps, running_mean(losses, reach), color=TRAINING, linewidth=1.8, label=label)
    elif len(steps):
        axes.plot(steps, losses, color=TRAINING, linewidth=1.8, marker="o", markersize=3, label="training loss")


def _draw_rates(axes: Axes, history: Sequence[Mapping[str, Any]]) -> None:
    steps, rates = find_series(history, "learning_rate")
    axes.plot(steps, rates, color=QUIET, linewidth=1.4, marker="o" if len(steps) == 1 else None, markersize=4.5)
    _style(axes, "learning\nrate")
    axes.yaxis.set_major_locator(MaxNLocator(3))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda rate, _: f"{rate:.3g}"))
    axes.xaxis.set_major_locator(MaxNLocator(8, integer=True, min_n_ticks=1))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda step, _: f"{step:,.0f}"))
    last = max((event["step"] for event in history), default=1)
    axes.set_xlim(0, max(last, 1) * 1.02)
    axes.set_ylim(bottom=0)
    if not len(steps):
        axes.set_yticks([])
    axes.set_xlabel("step")


def _state_lowest(steps: np.ndarray, losses: np.ndarray) -> str:
    if np.isnan(losses).all():
        return ", never finite"
    lowest = int(np.nanargmin(losses))
    return f", lowest {losses[lowest]:.4g} at step {steps[lowest]:,}"


def _style(axes: Axes, label: str) -> None:
    axes.set_ylabel(label)
    axes.grid(color="#e3e6ea", linewidth=0.8)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)


def find_series(history: Sequence[Mapping[str, Any]], key: str) -> tuple[np.ndarray, np.ndarray]:
    """Return steps and values of the events that carry `key`; what is not finite is NaN."""
    events = [event for event in history if key in event]
    values = [math.nan if event[key] is None else float(event[key]) for event in events]
    finite = [value if math.isfinite(value) else math.nan for value in values]
    return np.array([event["step"] for event in events], dtype=np.int64), np.array(finite)


def running_mean(values: np.ndarray, reach: int) -> np.ndarray:
    """Return at each place the mean of up to `reach` values on either side and its own, a NaN left out.

    Near the ends both sides are cut alike: a mean of one side only would lag behind a falling loss.
    """
    known = ~np.isnan(values)
    sums = np.concatenate([np.zeros(1), np.cumsum(np.where(known, values, 0.0))])
    counts = np.concatenate([np.zeros(1), np.cumsum(known)])
    places = np.arange(len(values))
    sides = np.minimum(reach, np.minimum(places, places[::-1]))
    starts, ends = places - sides, places + sides + 1
    found = counts[ends] - counts[starts]
    return np.where(found > 0, (sums[ends] - sums[starts]) / np.maximum(found, 1), math.nan)
