"""Features that alone tell the label: a word, the length of the text, another column, the file, the place in it.

A model learns such a mark in place of the language, and fails where it is missing. Looked for in the training part.
What a model never sees (columns, files, order) is told as well: it says how the data were put together.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from tqdm.auto import tqdm

from hfpipe.data.progress import progress_options
from hfpipe.inspection.classes import Classes, find_classes
from hfpipe.inspection.inspected import Inspected, InspectedPart
from hfpipe.inspection.leak_statistics import Telling, bin_by_rank, code_values, find_telling_words, judge_feature
from hfpipe.inspection.record import LOOK, NOTE, SERIOUS, Finding, FoundRow, NotLookedFor
from hfpipe.inspection.reporting import found_row, part_name, percent, severity_by_share

KIND = "leak"
FEWEST_ROWS = 100
_RAREST_WORD = 20
_MOST_WORDS_TOLD = 20
_READ_CHARACTERS = 10_000
# '7/10', '[a-1]' and '<br' are words; a comma or a point at their end is not
_WORD = r"[^\s.,;:!?\"'()]+(?:[.,:'][^\s.,;:!?\"'()]+)*"
_MARK = (
    "where it is how the data were made, not what they say, take it out of the texts: a model learns it in place of "
    "the language"
)


@dataclass(frozen=True)
class _Feature:
    """What may tell the label: its code for each row, and what is said of it."""

    kind: str
    title: str
    severity: str
    remedy: str
    codes: np.ndarray


def find_leaks(inspected: Inspected, *, most_rows: int, seed: int) -> Iterator[Finding | NotLookedFor]:
    """Yield what alone tells the label; beyond `most_rows` a sample of so many is looked at, drawn by `seed`."""
    train = inspected.train
    if inspected.problem_type is None or not len(train.answers):
        return
    if len(train) < FEWEST_ROWS:
        yield NotLookedFor(KIND, f"{len(train):,} rows are too few to tell a leak from chance")
        return
    rows = np.arange(len(train))
    if len(train) > most_rows:
        rows = np.sort(np.random.Generator(np.random.Philox(seed)).choice(rows, most_rows, replace=False))
    answers = [train.answers[row] for row in rows.tolist()]
    views = list(find_classes(answers, inspected.problem_type))
    yield from _find_words(inspected, rows, views)
    features = list(_list_features(inspected, rows))
    tried = max(len(features) * len(views), 1)
    told: set[str] = set()
    for feature in features:
        # rows of a file stand together, so that their order says what the file has said
        if feature.kind == "leak_order" and "leak_file" in told:
            continue
        for classes in views:
            telling = judge_feature(feature.codes, classes.ids, tried=tried, seed=seed)
            if telling is not None:
                told.add(feature.kind)
                yield _tell_feature(inspected, feature, telling, rows=rows, classes=classes)


def _list_features(inspected: Inspected, rows: np.ndarray) -> Iterator[_Feature]:
    train = inspected.train
    lengths = np.array([len(train.texts[row]) for row in rows], dtype=np.float64)
    title = "the length of the text alone tells the label"
    yield _Feature("leak_length", title, SERIOUS, _MARK, bin_by_rank(lengths))
    for name, values in inspected.other_columns.items():
        codes = code_values([values[row] for row in rows])
        if codes is not None:
            title = f"column {name!r} alone tells the label"
            remedy = "leave it out of the texts, unless it will be known when the model is used; a run does not read it"
            yield _Feature("leak_column", title, LOOK, remedy, codes)
    files = train.places.file_ids[rows].astype(np.int64)
    if files.min() != files.max():
        title = "the file alone tells the label"
        remedy = "make sure that files differ in nothing but what they say: origin, layout, spelling are learnt first"
        yield _Feature("leak_file", title, NOTE, remedy, files)
    title = "rows are sorted by their label"
    remedy = "nothing: a run shuffles; other programs that take the first rows for a sample would go wrong"
    order = np.lexsort((train.places.lines[rows], files))
    ranks = np.empty(len(rows), dtype=np.float64)
    ranks[order] = np.arange(len(rows))
    yield _Feature("leak_order", title, NOTE, remedy, bin_by_rank(ranks))


def _tell_feature(
    inspected: Inspected, feature: _Feature, telling: Telling, *, rows: np.ndarray, classes: Classes
) -> Finding:
    subject = "" if len(classes.told) > 1 else f" {classes.names[1]!r}"
    detail = (
        f"counted on one half of the rows it tells the label{subject} of {percent(telling.right)} of the other half; "
        f"the commonest label is right in {percent(telling.commonest)}"
    )
    examples = tuple(_examples(feature.codes, classes, inspected.train, rows))
    count, name = round(telling.right * len(rows)), part_name(inspected, inspected.train)
    title = feature.title + subject
    return Finding(feature.kind, feature.severity, name, title, count, len(rows), detail, feature.remedy, examples)


def _examples(codes: np.ndarray, classes: Classes, part: InspectedPart, rows: np.ndarray) -> Iterator[FoundRow]:
    """Yield the first row of each class."""
    for label in range(len(classes.names)):
        of_class = np.flatnonzero(classes.ids == label)
        if len(of_class):
            yield found_row(part, int(rows[of_class[0]]), f"the first labelled {classes.names[label]!r}")


def _find_words(inspected: Inspected, rows: np.ndarray, views: Sequence[Classes]) -> Iterator[Finding]:
    # half a second, which a look at rows without labels does not wait for
    from sklearn.feature_extraction.text import CountVectorizer

    train = inspected.train
    texts = train.whole_texts
    heads = (texts[row][:_READ_CHARACTERS] for row in rows)
    bar = tqdm(heads, desc="looking for leaks", total=len(rows), unit="text", **progress_options())
    vectorizer = CountVectorizer(binary=True, token_pattern=_WORD, min_df=_RAREST_WORD, dtype=np.int32)
    try:
        present = vectorizer.fit_transform(bar)
    except ValueError:
        # no word stands in so many rows
        return
    words, rows_with = vectorizer.get_feature_names_out(), np.asarray(present.sum(axis=0)).reshape(-1)
    for classes in views:
        indicator = np.zeros((len(classes.names), len(rows)), dtype=np.int32)
        indicator[classes.ids, np.arange(len(rows))] = 1
        hits = np.asarray((present.T @ indicator.T).T)
        class_rows = np.bincount(classes.ids, minlength=len(classes.names))
        found = [each for each in find_telling_words(hits, rows_with, class_rows) if each[0] in classes.told]
        for label in dict.fromkeys(label for label, _ in found):
            own = [word for of, word in found if of == label]
            has_any = np.asarray(present[:, own].sum(axis=1)).reshape(-1) > 0
            matching = np.flatnonzero(has_any & (classes.ids == label))
            notes = [(word, int(hits[label, word]), int(rows_with[word])) for word in own[:_MOST_WORDS_TOLD]]
            yield _tell_words(
                inspected, classes.names[label], rows[matching], words=words, notes=notes, of=class_rows[label]
            )


def _tell_words(
    inspected: Inspected,
    label: str,
    matching: np.ndarray,
    *,
    words: np.ndarray,
    notes: Sequence[tuple[int, int, int]],
    of: int,
) -> Finding:
    train = inspected.train
    texts = [text.lower() for text in (train.whole_texts[row] for row in matching[:2_000])]
    rows = []
    for word, hits, rows_with in notes:
        first = next((index for index, text in enumerate(texts) if str(words[word]) in text), 0)
        note = f"{str(words[word])!r}: {label!r} in {percent(hits / rows_with)} of the {rows_with:,} rows with it"
        rows.append(found_row(train, int(matching[first]), note))
    share = len(matching) / of
    # of one word: many words of a subject together are the subject
    most = max(hits for _, hits, _ in notes) / of
    severity = severity_by_share(most, look=0.25, serious=0.5)
    detail = f"{percent(share)} of the rows labelled {label!r} have a word that next to no others have"
    name = part_name(inspected, train)
    title = f"a word alone tells the label {label!r}"
    return Finding("leak_word", severity, name, title, len(matching), int(of), detail, _MARK, tuple(rows))
