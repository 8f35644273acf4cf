"""Made-up reviews in which something is planted: the rows where it is are known, so finding it can be scored."""

import csv
import random
from collections.abc import Sequence
from pathlib import Path

GOOD_WORDS = ("superb", "warm", "moving", "clever", "funny", "honest", "bright", "tender", "brilliant", "gripping")
BAD_WORDS = ("awful", "dull", "clumsy", "flat", "noisy", "stale", "tired", "hollow", "messy", "lazy")
OTHER_WORDS = tuple(f"{start}{end}" for start in ("ka", "lo", "mi", "ru", "te", "vo") for end in "bdfgklmnprst")


def make_reviews(count: int, *, seed: int) -> tuple[list[str], list[str]]:
    """Return texts of 15 to 40 words, three in ten of them telling, and their labels in turn."""
    draw = random.Random(seed)
    texts, labels = [], []
    for row in range(count):
        label = ("neg", "pos")[row % 2]
        own, others = (GOOD_WORDS, BAD_WORDS) if label == "pos" else (BAD_WORDS, GOOD_WORDS)
        words = [
            draw.choice(own if chance < 0.3 else others if chance < 0.35 else OTHER_WORDS)
            for chance in (draw.random() for _ in range(draw.randint(15, 40)))
        ]
        texts.append(" ".join(words))
        labels.append(label)
    return texts, labels


def change_words(text: str, count: int, *, seed: int) -> str:
    """Return a text with so many of its words replaced."""
    draw, words = random.Random(seed), text.split()
    for place in draw.sample(range(len(words)), count):
        words[place] = draw.choice(OTHER_WORDS)
    return " ".join(words)


def write_reviews(path: Path, texts: Sequence[str], labels: Sequence[str], **others: Sequence[str]) -> str:
    """Write a table, the first row on line 2, and return its name."""
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["text", "label", *others])
        writer.writerows(zip(texts, labels, *others.values(), strict=True))
    return path.name


def lines_of(places: Sequence[str]) -> set[int]:
    """Return the lines of places of one file; the row written first stands on line 2."""
    return {int(place.rpartition(":")[2]) for place in places}
