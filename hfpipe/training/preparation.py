"""From parts of texts to a trainer: rows of tokens, the tokenizer of a new model, facts for the record."""

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Generic, TypeVar

from transformers import PreTrainedConfig, PreTrainedModel, PreTrainedTokenizerBase

from hfpipe.config import RunConfig
from hfpipe.config.decays import read_decay
from hfpipe.data.accounting import DataSummary
from hfpipe.data.mixture import find_source_ids
from hfpipe.data.parts import LabelledPart, LabelledParts
from hfpipe.data.stretches import cut_texts
from hfpipe.data.tokens import LengthRule, find_length_rule, tokenize_texts
from hfpipe.errors import ConfigError, Problem
from hfpipe.models.checkpoint_files import find_commit
from hfpipe.models.document_masks import check_document_masks
from hfpipe.models.limits import find_length_limit
from hfpipe.models.tokenizers import load_saved_tokenizer, load_tokenizer, train_tokenizer
from hfpipe.records.durable import publish_files, remove_folder
from hfpipe.records.opening import read_run
from hfpipe.records.run_directory import STAGING
from hfpipe.records.sessions import add_facts
from hfpipe.training.agreement import Attempt, raise_in_all, written_for_all
from hfpipe.training.cursor import find_dealing
from hfpipe.training.datasets import BlockRows, LabelledRows, Rows
from hfpipe.training.lengths import describe_kept
from hfpipe.training.mixed_rows import MixedRows
from hfpipe.training.room import check_room
from hfpipe.training.row_sources import RowSources
from hfpipe.training.schedule import describe_steps, find_window_length, plan_schedule
from hfpipe.training.session import Session, fingerprint_of
from hfpipe.training.settling import record_plan, settle_layers, settle_loss, settle_model, weigh_padding
from hfpipe.training.streaming import StreamedBlocks
from hfpipe.training.trainer import PlannedTrainer, Task

logger = logging.getLogger(__name__)

RowsT = TypeVar("RowsT", bound=Rows)


@dataclass(frozen=True)
class RowsByPart(Generic[RowsT]):
    """The rows of a run; `test` is None where there is no test data."""

    train: RowsT
    validation: RowsT
    test: RowsT | None


@dataclass(frozen=True)
class StreamedRows:
    """The rows of a run that reads its training part while it trains; what is scored is in memory."""

    train: StreamedBlocks
    validation: BlockRows
    test: BlockRows | None


def tokenize_labelled_parts(
    session: Session, parts: LabelledParts, tokenizer: PreTrainedTokenizerBase, model_config: PreTrainedConfig
) -> RowsByPart[LabelledRows]:
    """Return the rows of each part cut as the settings say, and record how many texts were longer.

    Raises:
        ConfigError: If `max_seq_length` is over what model or tokenizer take, or leaves no room for a text.
    """
    check_max_seq_length(session.config, model_config, tokenizer)
    rows = cut_labelled_parts(parts, tokenizer, rule=find_length_rule(session.config.data))
    _record_cut_texts(session, parts, rows)
    return rows


def check_max_seq_length(config: RunConfig, model_config: PreTrainedConfig, tokenizer: PreTrainedTokenizerBase) -> None:
    """Raise a ConfigError where `max_seq_length` is over what model or tokenizer take, or leaves no room for a text."""
    data, place = config.data, config.place("max_seq_length")
    value = f"{place} {data.max_seq_length}"
    limit = find_length_limit(model_config, tokenizer)
    if data.max_seq_length > limit:
        told = f"over the model's {limit:,} positions"
        raise ConfigError(Problem(value, rule=told, remedy="lower it, or choose a model for longer texts"))
    special = tokenizer.num_special_tokens_to_add(pair=data.text_pair_column_name is not None)
    rule = find_length_rule(data)
    if rule.room(special) < 1:
        told = f"the tokenizer's {special} special tokens leave no room for a text"
        raise ConfigError(Problem(value, rule=told, remedy="raise it"))
    if rule.step(special) < 1:
        told = f"beside {special} special tokens and a doc_stride of {rule.doc_stride:,} a window holds nothing new"
        raise ConfigError(Problem(value, rule=told, remedy="raise it, or lower doc_stride"))


def cut_labelled_parts(
    parts: LabelledParts, tokenizer: PreTrainedTokenizerBase, *, rule: LengthRule
) -> RowsByPart[LabelledRows]:
    """Return the rows of each part, texts cut by `rule`."""

    def rows_of(part: LabelledPart, name: str) -> LabelledRows:
        texts = tokenize_texts(
            tokenizer, part.texts, text_pairs=part.text_pairs, rule=rule, description=f"tokenizing {name}"
        )
        return LabelledRows(texts, part.targets, part.places, tokenizer.pad_token_id, sources_of(part))

    def sources_of(part: LabelledPart) -> RowSources | None:
        names = tuple(source.name for source in parts.sources)
        return RowSources(names, find_source_ids(part.places, parts.sources)) if names else None

    test = rows_of(parts.test, "test") if parts.test else None
    return RowsByPart(rows_of(parts.train, "train"), rows_of(parts.validation, "validation"), test)


def prepare_tokenizer(session: Session, texts: Sequence[str], *, marks_texts: bool = False) -> PreTrainedTokenizerBase:
    """Return the tokenizer named by the settings, else the one this run trained, else one trained on `texts` now.

    One that is trained `marks_texts` at both ends, if so asked. The main process trains and saves it at the top of the
    run directory; all processes read it from there.
    """
    settings = session.model
    if settings.tokenizer_name or settings.model_name_or_path:
        return load_tokenizer(settings)
    attempt = Attempt(session.directory)
    with attempt:
        if session.is_main and load_saved_tokenizer(session.directory) is None:
            size, count = f"{settings.vocab_size:,}", f"{len(texts):,}"
            logger.info("training a byte-level BPE of %s tokens on %s texts", size, count)
            shows = not session.args.disable_tqdm
            stretches = (stretch.text for stretch in cut_texts(texts, " \t\n\r"))
            tokenizer = train_tokenizer(
                stretches, settings.vocab_size, show_progress=shows, marks_texts=marks_texts, count=len(texts)
            )
            if len(tokenizer) < settings.vocab_size:
                logger.info("the texts gave %s tokens: they hold no more pairs to join", f"{len(tokenizer):,}")
            _publish_tokenizer(tokenizer, session.directory)
    raise_in_all(attempt.error(), session.args)
    saved = load_saved_tokenizer(session.directory)
    assert saved is not None, "the main process has just saved it"
    return saved


def _publish_tokenizer(tokenizer: PreTrainedTokenizerBase, folder: Path) -> None:
    """Save a tokenizer in `folder`, each file whole: the session after a kill trains on with what is there."""
    staging = folder / STAGING
    remove_folder(staging)
    tokenizer.save_pretrained(staging)
    publish_files(staging, folder)


def build_trainer(
    session: Session,
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    *,
    rows: RowsByPart[LabelledRows] | RowsByPart[BlockRows] | StreamedRows | MixedRows,
    task: Task,
) -> PlannedTrainer:
    """Return the trainer of this run, its model set as the performance plan says, and log what a step consists of.

    Raises:
        ConfigError: If the user asks for a loss, document masks or layers without padding that the model does not have.
        CheckpointError: If the disk has no room for two checkpoints and the finished model.
    """
    config, begun = session.config, read_run(session.directory)
    performance = settle_model(session.performance_plan, model)
    if isinstance(rows.train, LabelledRows):
        padded = plan_schedule(config, rows.train.lengths, window_length=find_window_length(config))
        performance = weigh_padding(performance, padded, begun=begun)
    performance = settle_layers(performance, model, place=config.place, device=session.args.device)
    if not config.data.cross_document_attention:
        check_document_masks(session.model, model)
    padding_free = find_dealing(begun, padding_free=bool(performance.padding_free))
    trainer = PlannedTrainer(
        model,
        session.args,
        task=replace(task, padding_free=padding_free),
        train_rows=rows.train,
        validation_rows=rows.validation,
        tokenizer=tokenizer,
    )
    trainer.throughput.padding_free = bool(performance.padding_free)
    record_plan(session, settle_loss(performance, trainer, place=config.place("fused_loss")))
    trainer.fingerprint = fingerprint_of(config)
    trainer.decay = read_decay(config.trainer_arguments)
    if session.is_main:
        window_length = find_window_length(config)
        logger.info(describe_steps(trainer.plan, trainer.train_rows, window_length=window_length))
    check_room(session, trainer)
    return trainer


def describe_model(session: Session, model: PreTrainedModel, *, new_parameters: Sequence[str] = ()) -> None:
    """Log and record the size of the model and which of its parameters start from random values."""
    count = sum(parameter.numel() for parameter in model.parameters())
    trainable = sum(parameter.numel() for parameter in model.parameters() if parameter.requires_grad)
    if session.is_main:
        logger.info("%s: %s parameters, %s trainable", type(model).__name__, f"{count:,}", f"{trainable:,}")
    if session.is_main and new_parameters:
        logger.info("new, starting from random values: %s", ", ".join(new_parameters))
    facts = {"class": type(model).__name__, "count": count, "trainable": trainable, "new": list(new_parameters)}
    # the commit of a model from the Hub; its revision may be a branch, which moves
    about_model = {"parameters": facts, "model_commit": find_commit(model.name_or_path)}
    with written_for_all(session.directory, session.args):
        if session.is_main:
            add_facts(session.directory, about_model)


def note_cut_texts(parts: LabelledParts, rows: RowsByPart[LabelledRows]) -> DataSummary:
    """Return the summary of `parts` with the texts of each that lost tokens."""
    over_long = {}
    for name, (part, tokenized) in _pair_up(parts, rows).items():
        cut = tokenized.texts.cut_rows
        over_long[name] = (len(cut), [part.places.place(int(row)) for row in cut[:3]])
    return parts.summary.with_over_long(over_long)


def _record_cut_texts(session: Session, parts: LabelledParts, rows: RowsByPart[LabelledRows]) -> None:
    rule = find_length_rule(session.config.data)
    with written_for_all(session.directory, session.args):
        if session.is_main:
            for name, (_, tokenized) in _pair_up(parts, rows).items():
                logger.info("%s: %s", name, describe_kept(tokenized.texts, rule))
            add_facts(session.directory, {"data": note_cut_texts(parts, rows).to_json()})


def _pair_up(parts: LabelledParts, rows: RowsByPart[LabelledRows]) -> dict[str, tuple[LabelledPart, LabelledRows]]:
    pairs = {"train": (parts.train, rows.train), "validation": (parts.validation, rows.validation)}
    if parts.test and rows.test:
        pairs["test"] = (parts.test, rows.test)
    return pairs


def describe_blocks(rows: RowsByPart[BlockRows]) -> Iterator[str]:
    """Yield a line on each part: its tokens, blocks and bytes, and the tail that was dropped."""
    for name, part in {"train": rows.train, "validation": rows.validation, "test": rows.test}.items():
        if part is None:
            continue
        tail = f", tail of {part.blocks.dropped_tokens:,} tokens dropped" if name == "train" else ""
        counts = f"{part.blocks.tokens:,} tokens in {len(part):,} blocks of {part.blocks.block_size}"
        yield f"{name}: {counts} from {part.byte_count:,} bytes{tail}"
