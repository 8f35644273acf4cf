"""One labelled file to score a finished model on: every row with a text and a known label, repeats included.

Refuses labels that the model was not trained on: a score over the other rows would not be the file's.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from hfpipe.data.accounting import PartAccount
from hfpipe.data.columns import ColumnRequest
from hfpipe.data.findings import Findings
from hfpipe.data.labels import Labels, check_known
from hfpipe.data.places import Places
from hfpipe.data.record_stream import SourceFile
from hfpipe.data.records import Reading
from hfpipe.data.sources import PartSource
from hfpipe.data.table import TableRequest, read_table
from hfpipe.errors import DataError, Problem


@dataclass(frozen=True)
class ScoredFile:
    """Texts, label ids (int64) and places of a file, with the account of its rows."""

    texts: list[str]
    label_ids: np.ndarray
    places: Places
    account: PartAccount


def load_labelled_file(
    path: Path,
    *,
    label_ids: Mapping[str, int],
    text_column: str | None = None,
    label_column: str | None = None,
    delimiter: str | None = None,
) -> ScoredFile:
    """Return the rows of a file to score; `label_ids` maps each label as files write it to its id.

    A column that is None is found by name.

    Raises:
        DataError: With all problems of the file; a label outside `label_ids` is one.
    """
    file = SourceFile(path, str(path))
    if not path.is_file():
        raise DataError(Problem(file.name, "no such file"))
    findings = Findings()
    request = TableRequest(ColumnRequest(text_column, label_column, labelled=True), Reading(delimiter))
    table = read_table(PartSource(file.name, (file,)), request, findings)
    check_known("file", table, Labels(tuple(label_ids), tuple(label_ids)), findings)
    if not findings and not table.texts:
        findings.add("files without rows", file.name, Problem(file.name, "no row can be used", "all lack one thing"))
    findings.raise_if_any()
    ids = np.fromiter((label_ids[label] for label in table.labels), np.int64, len(table.labels))
    return ScoredFile(table.texts, ids, table.places, table.account)
