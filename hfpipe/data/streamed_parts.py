"""The parts of a run that reads its training documents while it trains.

Validation and test documents are few and in memory: the first of their files, or the first of the stream that are held
out. What can be known of a stream before it is read is known here: its shards, their sizes and columns. Its documents
cannot be counted or compared ahead; that is said once, and `run.json` has the counts in the end.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from hfpipe.config.cleaning_names import select_text_steps
from hfpipe.config.sections import DataSettings
from hfpipe.data.accounting import DataSummary, FileFingerprint, PartAccount, Rows
from hfpipe.data.columns import request_columns
from hfpipe.data.findings import Findings
from hfpipe.data.parts import DocumentPart
from hfpipe.data.places import PlacesBuilder
from hfpipe.data.records import Reading
from hfpipe.data.shards import Shard, ShardReading, choose_shard_columns, local_shard
from hfpipe.data.sources import find_sources
from hfpipe.data.streams import Corpus, Document, digest, read_first, read_held_out
from hfpipe.errors import DataError, Problem

SURVEYED_LINES = 1_000
"""Lines of JSON lines whose keys are the columns: a shard is not read twice."""
NOT_KNOWN = "read while training: its documents are not counted, and repeats are not found, before they are trained on"


@dataclass(frozen=True)
class StreamedParts:
    """What a language model trains on, shard by shard, and is judged by."""

    train: Corpus
    validation: DocumentPart
    test: DocumentPart | None
    summary: DataSummary


def load_streamed_parts(
    settings: DataSettings, *, seed: int, processes: int = 1, cache_dir: str | None = None
) -> StreamedParts:
    """Return the parts of a run under `streaming`; only what validates and tests is read. `seed` orders the shards.

    Raises:
        DataError: If files are empty or cannot be read, there are fewer shards than processes, or nothing is held out.
    """
    shards = _find_shards(settings, cache_dir=cache_dir)
    train = shards["train"]
    _check_shards(train, processes)
    reading = ShardReading(
        request_columns(settings, labelled=False),
        Reading(settings.field_delimiter, settings.document_per, settings.encoding, SURVEYED_LINES),
        select_text_steps(settings.cleaning_steps),
    )
    columns = choose_shard_columns(train[0], reading)
    reading = replace(reading, columns=columns.repeated())
    fraction = 0.0 if "validation" in shards else settings.validation_fraction
    corpus = Corpus(train, reading, seed, fraction, split_seed=settings.split_seed)
    limits = {"validation": settings.max_eval_samples, "test": settings.max_predict_samples}
    found = {name: read_first(shards[name], reading, limits[name]) for name in limits if name in shards}
    parts = {name: _part(documents) for name, (documents, _) in found.items()}
    accounts = {name: _account(shards[name], *read) for name, read in found.items()}
    notes = [_describe(train)]
    if "validation" not in parts:
        parts["validation"], accounts["validation"], note = _hold_out(corpus, settings)
        notes.append(note)
    _check_not_empty(accounts)
    texts = {digest(text) for part in parts.values() for text in part.texts}
    summary = DataSummary(accounts, _identify(shards), columns, notes=tuple(notes))
    return StreamedParts(replace(corpus, elsewhere=texts), parts["validation"], parts.get("test"), summary)


def _find_shards(settings: DataSettings, *, cache_dir: str | None) -> dict[str, tuple[Shard, ...]]:
    if settings.dataset_name is not None:
        from hfpipe.data.hub_shards import find_hub_shards

        return find_hub_shards(settings, cache_dir=cache_dir)
    findings = Findings()
    sources = find_sources(settings, findings)
    findings.raise_if_any()
    parts = {"train": sources.train, "validation": sources.validation, "test": sources.test}
    return {name: tuple(map(local_shard, part.files)) for name, part in parts.items() if part is not None}


def _check_shards(shards: Sequence[Shard], processes: int) -> None:
    # an empty one would end the run in its middle
    value, remedy = "the file is empty", "name a file that holds rows"
    problems = [Problem(shard.name, value, "", remedy) for shard in shards if not shard.size_bytes]
    if len(shards) < processes:
        problems.append(_too_few_problem(shards, processes))
    if problems:
        raise DataError(problems)


def _too_few_problem(shards: Sequence[Shard], processes: int) -> Problem:
    value = f"{len(shards):,} {'shard' if len(shards) == 1 else 'shards'} for {processes:,} processes"
    rule = "each process reads files of its own"
    remedy = f"split it, for instance: split -n l/{processes * 4} --additional-suffix=.jsonl FILE.jsonl part-"
    return Problem(shards[0].name, value, rule, remedy)


def _hold_out(corpus: Corpus, settings: DataSettings) -> tuple[DocumentPart, PartAccount, str]:
    assert settings.max_eval_samples is not None, "the rules of the configuration ask for it"
    documents, read = read_held_out(corpus, settings.max_eval_samples)
    if not documents:
        rule = f"none of {read:,} documents is held out by the share {settings.validation_fraction}"
        raise DataError(Problem("validation_fraction", "", rule, "raise it, or set validation_file"))
    account = PartAccount(f"the head of the stream (share {settings.validation_fraction})", len(documents))
    many = f"the first {len(documents):,} of the stream that the share {settings.validation_fraction} holds out"
    note = f"validation: {many}, found among {read:,} documents; all others it holds out are left out of training"
    if len(documents) < settings.max_eval_samples:
        note += f" (max_eval_samples is {settings.max_eval_samples:,}: the stream has no more)"
    return _part(documents), account, note


def _part(documents: Sequence[Document]) -> DocumentPart:
    places = PlacesBuilder()
    for document in documents:
        places.add(document.shard.name, document.line)
    return DocumentPart([document.text or "" for document in documents], places.build())


def _account(shards: Sequence[Shard], documents: Sequence[Document], read: int) -> PartAccount:
    more = f" and {len(shards) - 1:,} more" if len(shards) > 1 else ""
    account = PartAccount(f"{shards[0].name}{more}", read)
    return account.without("empty", Rows(read - len(documents)))


def _check_not_empty(accounts: Mapping[str, PartAccount]) -> None:
    problems = [
        Problem(account.source, "no row can be used", f"{account.read:,} rows were read")
        for account in accounts.values()
        if not account.used
    ]
    if problems:
        raise DataError(problems)


def _describe(shards: Sequence[Shard]) -> str:
    size = sum(shard.size_bytes for shard in shards)
    noun = "shard" if len(shards) == 1 else "shards"
    return f"train: a stream of {len(shards):,} {noun}, {size:,} bytes, {shards[0].name} to begin with; {NOT_KNOWN}"


def _identify(shards: Mapping[str, Sequence[Shard]]) -> tuple[FileFingerprint, ...]:
    """Return names and sizes: to hash a corpus would be to read it."""
    found = dict.fromkeys(shard for part in shards.values() for shard in part)
    return tuple(FileFingerprint(shard.name, shard.size_bytes, None, shard.identity) for shard in found)
