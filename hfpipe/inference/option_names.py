"""Problems of a file told to someone who named it on a command line, not in a configuration.

The code that reads files for runs reads them for predictions too, and its remedies name settings; here they become
the options of `hfpipe predict` and `hfpipe evaluate`.
"""

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace

from hfpipe.errors import DataError, Problem

OPTIONS: Mapping[str, str] = {
    "text_column_names": "--text-column",
    "text_pair_column_name": "--text-pair-column",
    "label_column_name": "--label-column",
    "label_delimiter": "--label-delimiter",
    "field_delimiter": "--delimiter",
    "encoding": "--encoding",
}

# 'encoding' alone is a word of the language too
_SETTING = re.compile(rf"\b({'|'.join(name for name in OPTIONS if '_' in name)}|(?<=set )encoding)\b(: )?")


@contextmanager
def telling_options() -> Iterator[None]:
    """Raise the DataError of the block with options where its remedies name settings."""
    try:
        yield
    except DataError as error:
        raise DataError([tell_options(problem) for problem in error.problems]) from error


def tell_options(problem: Problem) -> Problem:
    """Return `problem` with options in place of settings; what labels are is no choice here, but the model's."""
    remedy = _SETTING.sub(lambda found: OPTIONS[found[1]] + (" " if found[2] else ""), problem.remedy)
    if "problem_type" in remedy:
        remedy = "name a file that is labelled as the model's training was"
    # how a shell writes a tab
    remedy = remedy.replace(r'"\t"', r"$'\t'")
    name, *rest = problem.place.split(": ", 1)
    return replace(problem, place=": ".join([OPTIONS.get(name, name), *rest]), remedy=remedy)
