"""Problems of a file told to someone who named it on a command line, not in a configuration.

The code that reads files for runs reads them for predictions and inspections too, and its remedies name settings; here
they become the options of `hfpipe predict`, `hfpipe evaluate` and `hfpipe inspect`.
"""

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace

from hfpipe.errors import ConfigError, DataError, Problem

FILE_OPTIONS: Mapping[str, str] = {
    "text_column_names": "--text-column",
    "text_pair_column_name": "--text-pair-column",
    "label_column_name": "--label-column",
    "label_delimiter": "--label-delimiter",
    "field_delimiter": "--delimiter",
    "encoding": "--encoding",
}
"""Those of `predict` and `evaluate`, by the settings of a run that say the same."""

INSPECT_OPTIONS: Mapping[str, str] = {
    **FILE_OPTIONS,
    "train_file": "FILE",
    "validation_file": "--validation",
    "test_file": "--test",
    "problem_type": "--problem-type",
    "document_per": "--document-per",
    "tokenizer_name": "--tokenizer",
    "model_name_or_path": "--tokenizer",
    "max_seq_length": "--max-seq-length",
}
"""Those of `inspect`."""


@contextmanager
def telling_options(options: Mapping[str, str] = FILE_OPTIONS) -> Iterator[None]:
    """Raise the ConfigError or DataError of the block with `options` where its places and remedies name settings."""
    try:
        yield
    except (ConfigError, DataError) as error:
        raise type(error)([tell_options(problem, options) for problem in error.problems]) from error


def tell_options(problem: Problem, options: Mapping[str, str] = FILE_OPTIONS) -> Problem:
    """Return `problem` with options in place of settings; what labels are is the model's choice, if no option's."""
    # 'encoding' alone is a word of the language too
    setting = rf"\b({'|'.join(name for name in options if '_' in name)}|(?<=set )encoding)\b(: )?"
    remedy = re.sub(setting, lambda found: options[found[1]] + (" " if found[2] else ""), problem.remedy)
    if "problem_type" in remedy:
        remedy = "name a file that is labelled as the model's training was"
    # how a shell writes a tab
    remedy = remedy.replace(r'"\t"', r"$'\t'")
    name, *rest = problem.place.split(": ", 1)
    return replace(problem, place=": ".join([options.get(name, name), *rest]), remedy=remedy)
