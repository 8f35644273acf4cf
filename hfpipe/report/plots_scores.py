"""The pictures beside a card: how sure and how right a model is, and which labels it takes for which, as PNG files.

They take plain arrays. Reports draw their own charts (`line_chart.py`), whose colours follow the reader's paper; a card
is shown on white. The decision worth knowing: margins are counted here, since to have them found takes longer
than to draw.
"""

import io
import unicodedata
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from hfpipe.records.durable import write_whole
from hfpipe.report.line_chart import Line
from hfpipe.report.plots import EVALUATION, QUIET, TRAINING

INK = "#1f2933"
NAMED_LABELS = 40
COUNTED_LABELS = 10
LONGEST_NAME = 18

# a label may hold any sign, also two that would mark a formula
_STYLE: Any = {
    "font.size": 9,
    "text.parse_math": False,
    "text.color": INK,
    "axes.labelcolor": INK,
    "axes.edgecolor": QUIET,
}


def plot_reliability(lines: Sequence[Line], path: Path) -> None:
    """Write to `path` how often the model is right (y) where it is so sure (x), two lines at most, both in shares."""
    figure, axes = _begin(4.6, 3.9, left=0.68, bottom=0.55)
    axes.plot([0, 1], [0, 1], color=QUIET, linewidth=0.9, linestyle=(0, (2, 2)))
    for line, colour, mark in zip(lines, (EVALUATION, TRAINING), ("s", "o"), strict=False):
        axes.plot(line.x, line.y, color=colour, linewidth=1.4, marker=mark, markersize=3.8, label=line.name)
    start = _lowest_tenth(lines)
    for axis, name in ((axes.xaxis, "how sure the model is"), (axes.yaxis, "how often it is right")):
        axis.set_major_formatter(PercentFormatter(1.0, decimals=0, symbol=" %"))
        axis.set_label_text(name)
    margin = (1 - start) * 0.02
    axes.set(xlim=(start - margin, 1 + margin), ylim=(start - margin, 1 + margin))
    axes.grid(color="#e3e6ea", linewidth=0.8)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False, loc="lower left", bbox_to_anchor=(-0.02, 1.0), ncols=2, fontsize=8.5)
    _write(figure, path)


def plot_confusion(counts: np.ndarray, labels: Sequence[str], path: Path) -> None:
    """Write the confusion matrix (labels, labels) to `path`, true labels down; each row is coloured by its shares."""
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    names = [shorten_label(label, LONGEST_NAME) for label in labels] if len(labels) <= NAMED_LABELS else []
    longest = max(map(len, names), default=0)
    is_turned = longest * len(names) > 40
    room = 0.45 + 0.075 * longest
    side = min(2.2 + 0.22 * len(labels), 7.0)
    low = room if is_turned else 0.55
    figure, axes = _begin(side + room + 0.15, side + low + 0.15, left=room, bottom=low, top=0.15)
    shades = LinearSegmentedColormap.from_list("shades", ["#f4f7fb", TRAINING])
    axes.imshow(shares, cmap=shades, vmin=0, vmax=1, interpolation="nearest", aspect="auto")
    axes.set_xticks(range(len(names)), names, rotation=90 if is_turned else 0)
    axes.set_yticks(range(len(names)), names)
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    axes.set(xlabel="predicted", ylabel="true")
    if len(labels) <= COUNTED_LABELS:
        _write_counts(axes, counts, shares)
    _write(figure, path)


def shorten_label(label: str, length: int) -> str:
    """Return a label as one line that fits; signs that a drawing cannot hold go."""
    line = " ".join("".join(sign if unicodedata.category(sign)[0] != "C" else " " for sign in label).split())
    return line if len(line) <= length else f"{line[: length - 1]}…"


def _begin(width: float, height: float, *, left: float, bottom: float, top: float = 0.35) -> tuple[Figure, Axes]:
    """Return a figure and its axes; all sizes are in inches."""
    with matplotlib.rc_context(_STYLE):
        figure = Figure(figsize=(width, height), dpi=150)
        FigureCanvasAgg(figure)
        inner = (left / width, bottom / height, 1 - (left + 0.15) / width, 1 - (bottom + top) / height)
        return figure, figure.add_axes(inner)


def _write_counts(axes: Axes, counts: np.ndarray, shares: np.ndarray) -> None:
    for row, column in np.ndindex(*counts.shape):
        colour = "#ffffff" if shares[row, column] > 0.55 else INK
        axes.text(column, row, f"{counts[row, column]:,}", ha="center", va="center", color=colour)


def _lowest_tenth(lines: Sequence[Line]) -> float:
    values = np.concatenate([np.ones(1), *(each for line in lines for each in (line.x, line.y))])
    return float(np.floor(values.min() * 10) / 10)


def _write(figure: Figure, path: Path) -> None:
    picture = io.BytesIO()
    with matplotlib.rc_context(_STYLE), warnings.catch_warnings():
        # a script that matplotlib's own font lacks is shown as boxes
        warnings.filterwarnings("ignore", message="(?s).*Glyph .* missing", category=UserWarning)
        figure.savefig(picture, format="png", facecolor="white")
    write_whole(path, picture.getvalue())
