"""The rows that are looked at: texts, what is to be said of each, and where they stand; whatever they came from.

Of a run's parts these are the rows it would use; of files, all that have a text and a label. What was left out before
is known by its count and first places.
"""

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from hfpipe.config.sections import MULTI_LABEL, REGRESSION
from hfpipe.data.accounting import PartAccount, Rows
from hfpipe.data.columns import ColumnChoice
from hfpipe.data.parts import DocumentParts, LabelledPart, LabelledParts
from hfpipe.data.places import Places
from hfpipe.data.table import Table
from hfpipe.data.text_store import StoredTexts

TRAIN = "train"
MOST_BYTES = 50_000_000
MOST_BYTES_OF_A_TEXT = 10_000_000


# compared by identity: its arrays have no truth value
@dataclass(frozen=True, eq=False)
class InspectedPart:
    """The rows of a part; `answers` are labels, tuples of labels or numbers, and empty without labels."""

    name: str
    account: PartAccount
    texts: Sequence[str]
    text_pairs: Sequence[str] | None
    answers: Sequence[Hashable]
    places: Places

    def __len__(self) -> int:
        return len(self.texts)

    @property
    def sizes(self) -> np.ndarray | None:
        """The bytes of each text, where they are in files and more than is read for a look; else None."""
        if not isinstance(self.texts, StoredTexts) or not self.texts:
            return None
        # 4 bytes a text: a corpus may have a text a line
        sizes = np.concatenate([np.minimum(sizes, 2**32 - 1).astype(np.uint32) for sizes in self.texts.sizes()])
        is_vast = sizes.sum(dtype=np.int64) > MOST_BYTES or sizes.max(initial=0) > MOST_BYTES_OF_A_TEXT
        return sizes if is_vast else None

    @property
    def inputs(self) -> Sequence[Hashable]:
        """What a model sees of each row: its text, or its two texts."""
        return self.texts if self.text_pairs is None else list(zip(self.texts, self.text_pairs, strict=True))

    @property
    def whole_texts(self) -> Sequence[str]:
        """The text of each row; of two texts both, a line break between."""
        if self.text_pairs is None:
            return self.texts
        return [f"{text}\n{pair}" for text, pair in zip(self.texts, self.text_pairs, strict=True)]

    @property
    def left_out(self) -> Mapping[str, Rows]:
        """What was left out before, by reason."""
        return self.account.left_out


@dataclass(frozen=True)
class Inspected:
    """Parts in the order train, validation, test, as far as there are such; without labels `problem_type` is None.

    `other_columns` are values of columns that are neither text nor label, for the rows of the training part that
    have one. `refusals` is what would keep a run from using the data as they are.
    """

    parts: tuple[InspectedPart, ...]
    problem_type: str | None
    columns: ColumnChoice
    other_columns: Mapping[str, Sequence[str]] = field(default_factory=dict)
    refusals: tuple[str, ...] = ()

    @property
    def train(self) -> InspectedPart:
        """The training part."""
        return self.parts[0]

    @property
    def row_count(self) -> int:
        """The rows of all parts."""
        return sum(map(len, self.parts))

    @property
    def character_count(self) -> int:
        """The characters of all texts."""
        return sum(len(text) for part in self.parts for text in (*part.texts, *(part.text_pairs or ())))


def of_table(name: str, table: Table) -> InspectedPart:
    """Return the rows of a file as a part."""
    return InspectedPart(name, table.account, table.texts, table.text_pairs, table.answers, table.places)


def of_labelled_parts(parts: LabelledParts) -> Inspected:
    """Return the rows a classification run uses."""
    found = {TRAIN: parts.train, "validation": parts.validation, "test": parts.test}
    inspected = tuple(
        InspectedPart(name, parts.summary.parts[name], part.texts, part.text_pairs, _answers(part, parts), part.places)
        for name, part in found.items()
        if part is not None
    )
    return Inspected(inspected, parts.problem_type, parts.columns)


def of_document_parts(parts: DocumentParts) -> Inspected:
    """Return the documents a language-model run uses."""
    found = {TRAIN: parts.train, "validation": parts.validation, "test": parts.test}
    inspected = tuple(
        InspectedPart(name, parts.summary.parts[name], part.texts, None, (), part.places)
        for name, part in found.items()
        if part is not None
    )
    return Inspected(inspected, None, parts.summary.columns)


def _answers(part: LabelledPart, parts: LabelledParts) -> Sequence[Hashable]:
    if parts.problem_type == REGRESSION:
        numbers: list[float] = part.targets.tolist()
        return numbers
    if parts.problem_type == MULTI_LABEL:
        names = np.array(parts.label_names, dtype=object)
        return [tuple(names[row > 0]) for row in part.targets]
    return [parts.label_names[label] for label in part.targets.tolist()]
