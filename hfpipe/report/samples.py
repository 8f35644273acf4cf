"""Continuations of fixed prompts through training, and those of the finished model."""

from collections.abc import Sequence
from dataclasses import dataclass

from hfpipe.report.files import RunFiles

MAX_MOMENTS = 6
"""Of a prompt: the first and the last evaluation, and others spread between."""


@dataclass(frozen=True)
class Moment:
    """What the model of a step wrote; `when` says which."""

    when: str
    text: str


@dataclass(frozen=True)
class Continuations:
    """Prompts, each with its continuations in the order of training, the finished model's last."""

    prompts: Sequence[tuple[str, Sequence[Moment]]]


def gather_continuations(files: RunFiles) -> Continuations | None:
    """Return the continuations a run kept; None where it has none."""
    moments: dict[str, list[Moment]] = {}
    for event in files.samples:
        for sample in event.get("samples", ()):
            own = moments.setdefault(sample["prompt"], [])
            own.append(Moment(f"step {event['step']:,}", _after(sample["prompt"], sample["text"])))
    for sample in files.run.get("samples") or ():
        if "prompt" in sample:
            own = moments.setdefault(sample["prompt"], [])
            own[:] = [*_spread(own, MAX_MOMENTS - 1), Moment("finished", _after(sample["prompt"], sample["text"]))]
    shown = [(prompt, _spread(own, MAX_MOMENTS)) for prompt, own in moments.items()]
    return Continuations(shown) if shown else None


def _spread(moments: list[Moment], count: int) -> list[Moment]:
    if len(moments) <= count:
        return moments
    places = {round(place * (len(moments) - 1) / (count - 1)) for place in range(count)}
    return [moment for place, moment in enumerate(moments) if place in places]


def _after(prompt: str, text: str) -> str:
    return text.removeprefix(prompt)
