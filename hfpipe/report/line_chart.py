"""Charts of lines and dots as SVG to stand in a page: written by hand, so that a page has them in milliseconds.

Nothing in them has a colour of its own: classes name the parts, and the page's style sheet gives each a colour on light
and on dark paper. Words are text in the page's font. Values that are not finite break a line; a gap is a fact.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from markupsafe import Markup

WIDTH, HEIGHT = 340, 230
LEFT, RIGHT, TOP, BOTTOM = 46, 18, 10, 38
SERIES = 6
"""Colours there are; a chart with more lines begins again, with other dashes."""
MAX_POINTS = 240
TICKS = 5


@dataclass(frozen=True)
class Line:
    """One line of a chart and its points, (points,) each; `place` gives colour and dashes.

    `is_faint` is a thin line behind the others and outside the legend; `has_dots` marks every point; `is_dots` draws
    the points alone.
    """

    name: str
    x: np.ndarray
    y: np.ndarray
    place: int = 0
    is_faint: bool = False
    has_dots: bool = False
    is_dots: bool = False

    @property
    def style(self) -> str:
        """The classes of the line in the page's style sheet."""
        kind = "faint" if self.is_faint else "dots" if self.is_dots else f"dash-{self.place // SERIES % 3}"
        return f"line s{self.place % SERIES + 1} {kind}"


@dataclass(frozen=True)
class Axis:
    """What an axis says and how far it goes; `is_share` shows 0.5 as 50 %, `is_whole` marks whole numbers alone."""

    label: str
    low: float
    high: float
    is_share: bool = False
    is_whole: bool = False


@dataclass(frozen=True)
class Chart:
    """A chart as a report shows it: drawing, what it shows for who cannot see it, a line below, and its lines."""

    svg: Markup
    alt: str
    caption: str = ""
    legend: tuple[Line, ...] = ()


def draw_chart(
    lines: Sequence[Line],
    x: Axis,
    y: Axis,
    *,
    alt: str,
    caption: str = "",
    diagonal: bool = False,
    mark_x: float | None = None,
) -> Chart:
    """Return the chart of `lines` between two axes; `mark_x` draws an upright line, as of a step that was chosen."""
    plan = _Paper(x, y)
    parts = [
        *_grid(plan),
        *(_references(plan, diagonal, mark_x)),
        *(part for line in lines for part in plan.draw(line)),
    ]
    box = f'viewBox="0 0 {WIDTH} {HEIGHT}"'
    svg = f'<svg class="chart" {box} aria-hidden="true" focusable="false">{"".join(parts)}</svg>'
    legend = tuple(line for line in lines if not line.is_faint and line.name)
    return Chart(Markup(svg), alt, caption, legend if len(legend) > 1 else ())


def fit_axis(label: str, lines: Sequence[Line], *, of_x: bool = False, from_zero: bool = False) -> Axis:
    """Return an axis that holds all finite points with a little room; of x it is one of steps, which begins at 0."""
    values = np.concatenate([np.zeros(0), *((line.x if of_x else line.y) for line in lines)]).astype(np.float64)
    values = values[np.isfinite(values)]
    if not len(values):
        return Axis(label, 0.0, 1.0)
    low, high = float(values.min()), float(values.max())
    low = min(low, 0.0) if from_zero else low
    room = (high - low) * 0.05 or (abs(high) or 1.0) * 0.05
    if of_x:
        return Axis(label, min(low, 0.0), high if high > min(low, 0.0) else 1.0, is_whole=True)
    return Axis(label, low if from_zero and low == 0 else low - room, high + room)


def find_ticks(low: float, high: float, *, is_whole: bool = False) -> list[float]:
    """Return round numbers between `low` and `high`, about five: multiples of 1, 2 or 5 times a power of ten."""
    span, wanted = high - low, TICKS
    if not (math.isfinite(span) and span > 0):
        return [low]
    power = 10.0 ** math.floor(math.log10(span / wanted))
    power = max(power, 1.0) if is_whole else power
    step = next(factor * power for factor in (1, 2, 5, 10, 20) if span / (factor * power) <= wanted)
    first = math.ceil(low / step - 1e-9)
    return [place * step for place in range(first, math.floor(high / step + 1e-9) + 1)]


def thin(x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return at most 240 of the points, the first and the last among them, spread evenly over their number."""
    if len(x) <= MAX_POINTS:
        return x, y
    kept = np.unique(np.linspace(0, len(x) - 1, MAX_POINTS).round().astype(np.int64))
    return x[kept], y[kept]


def thin_by_length(x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return at most 240 of the points, spread evenly over the drawn line: a curve may bend where points are few."""
    if len(x) <= MAX_POINTS:
        return x, y
    length = np.concatenate([[0.0], np.cumsum(np.abs(np.diff(x)) + np.abs(np.diff(y)))])
    kept = np.searchsorted(length, np.linspace(0, length[-1], MAX_POINTS))
    kept = np.unique(np.concatenate([[0], np.clip(kept, 0, len(x) - 1), [len(x) - 1]]))
    return x[kept], y[kept]


class _Paper:
    """Turns values into places on paper."""

    def __init__(self, x: Axis, y: Axis) -> None:
        self.x, self.y = x, y

    def across(self, value: float) -> float:
        """Return how far from the left edge a value of x stands."""
        return LEFT + (value - self.x.low) / (self.x.high - self.x.low) * (WIDTH - LEFT - RIGHT)

    def up(self, value: float) -> float:
        """Return how far from the top edge a value of y stands."""
        return HEIGHT - BOTTOM - (value - self.y.low) / (self.y.high - self.y.low) * (HEIGHT - TOP - BOTTOM)

    def draw(self, line: Line) -> Iterator[str]:
        """Yield the elements of a line."""
        x, y = np.asarray(line.x, np.float64), np.asarray(line.y, np.float64)
        places = [
            (round(self.across(a), 1), round(self.up(b), 1)) if math.isfinite(a) and math.isfinite(b) else None
            for a, b in zip(x.tolist(), y.tolist(), strict=True)
        ]
        if line.is_dots:
            dots = "".join(f"M{place[0]:g} {place[1]:g}h0" for place in places if place)
            yield f'<path class="{line.style}" d="{dots}"/>'
            return
        yield f'<path class="{line.style}" d="{_path(places)}"/>'
        if line.has_dots:
            own = f"s{line.place % SERIES + 1}"
            yield from (f'<circle class="dot {own}" cx="{at[0]:g}" cy="{at[1]:g}" r="2.8"/>' for at in places if at)


def _path(places: Sequence[tuple[float, float] | None]) -> str:
    words, pen = [], "M"
    for place in places:
        if place is None:
            pen = "M"
            continue
        words.append(f"{pen}{place[0]:g} {place[1]:g}")
        pen = "L"
    return "".join(words)


def _grid(paper: _Paper) -> Iterator[str]:
    bottom, right = HEIGHT - BOTTOM, WIDTH - RIGHT
    ticks = find_ticks(paper.y.low, paper.y.high)
    for value in ticks:
        up = round(paper.up(value), 1)
        yield f'<path class="grid" d="M{LEFT} {up:g}H{right}"/>'
        yield f'<text class="tick end" x="{LEFT - 7}" y="{up + 4:g}">{_show(value, paper.y, ticks)}</text>'
    ticks = find_ticks(paper.x.low, paper.x.high, is_whole=paper.x.is_whole)
    for value in ticks:
        across = round(paper.across(value), 1)
        yield f'<path class="grid" d="M{across:g} {bottom}v4"/>'
        yield f'<text class="tick middle" x="{across:g}" y="{bottom + 17}">{_show(value, paper.x, ticks)}</text>'
    yield f'<path class="axis" d="M{LEFT} {bottom}H{right}"/>'
    yield f'<text class="name end" x="{right}" y="{HEIGHT - 5}">{Markup.escape(paper.x.label)}</text>'


def _references(paper: _Paper, diagonal: bool, mark_x: float | None) -> Iterator[str]:
    if diagonal:
        low, high = max(paper.x.low, paper.y.low), min(paper.x.high, paper.y.high)
        ends = [f"{paper.across(value):.1f} {paper.up(value):.1f}" for value in (low, high)]
        yield f'<path class="reference" d="M{ends[0]}L{ends[1]}"/>'
    if mark_x is not None and paper.x.low <= mark_x <= paper.x.high:
        yield f'<path class="reference" d="M{paper.across(mark_x):.1f} {TOP}V{HEIGHT - BOTTOM}"/>'


def _show(value: float, axis: Axis, ticks: Sequence[float]) -> str:
    if axis.is_share:
        step = 100 * (ticks[1] - ticks[0]) if len(ticks) > 1 else 1.0
        return f"{100 * value:.{max(0, -math.floor(math.log10(step) + 1e-9))}f} %"
    # 0.00015 is wider than the margin, and beside 0.0001 both are hard to read
    if value != 0 and max(map(abs, ticks)) < 1e-3:
        digits, power = f"{value:.3e}".split("e")
        return f"{float(digits):g}e{int(power)}".replace("-", "−")
    return f"{value:,.4g}".replace("e-0", "e-").replace("-", "−")
