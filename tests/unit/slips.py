"""Slips of the keyboard: every word one edit away from a name, and a sample of them over all names of settings."""

import random
import string
from collections.abc import Iterator

from hfpipe.config.arguments import ACCEPTED, REFUSED
from hfpipe.config.keys import read_keys, read_retired
from hfpipe.config.retired import EXPLAINED

LETTERS = string.ascii_lowercase + string.digits + "_"
KNOWN = {*read_keys(), *read_retired(), *EXPLAINED, *REFUSED, *ACCEPTED, "recipe", "config"}
"""All names that are answered as such: settings, their older names, and those that are refused with a reason."""


def slips(name: str) -> list[str]:
    """Return every word that is one edit away from `name`: a character less, more, another, or two swapped."""
    less = {name[:i] + name[i + 1 :] for i in range(len(name))}
    swapped = {name[:i] + name[i + 1] + name[i] + name[i + 2 :] for i in range(len(name) - 1)}
    more = {name[:i] + letter + name[i:] for i in range(len(name) + 1) for letter in LETTERS}
    other = {name[:i] + letter + name[i + 1 :] for i in range(len(name)) for letter in LETTERS}
    return sorted((less | swapped | more | other) - {name, ""})


def draw_slips(seed: int, count: int) -> Iterator[tuple[str, str]]:
    """Yield so many slips of names people may mean, and the name that is meant; slips that are names are none."""
    rng = random.Random(seed)
    names = sorted(KNOWN - {"recipe", "config"})
    for number in range(count):
        name = names[number % len(names)]
        yield rng.choice([word for word in slips(name) if word not in KNOWN]), read_retired().get(name, name)
