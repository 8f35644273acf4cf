"""The rows each part ends up with: the validation split first, then the numbers of samples asked for."""

from collections.abc import Mapping
from dataclasses import replace

from hfpipe.config.sections import DataSettings
from hfpipe.data.accounting import PartAccount
from hfpipe.data.cleaning import take_rows
from hfpipe.data.splits import Stage, Strata, hold_out, list_others, sample
from hfpipe.data.table import Table


def select_rows(
    tables: Mapping[str, Table], strata: Mapping[str, Strata], *, settings: DataSettings, seed: int
) -> dict[str, Table]:
    """Return the tables 'train', 'validation' and, if there is one, 'test' after split and samples.

    `strata` holds the class of each row of each table: shares are kept class by class.
    """
    train, of_train = tables["train"], strata["train"]
    if "validation" in tables:
        validation, of_validation = tables["validation"], strata["validation"]
    else:
        kept, held_out = hold_out(of_train, settings.validation_fraction, seed=seed)
        account = PartAccount(f"the training part (share {settings.validation_fraction})", len(held_out))
        validation, of_validation = replace(take_rows(train, held_out), account=account), of_train.take(held_out)
        moved = train.account.without("held_out_for_validation", train.places.rows(held_out))
        train, of_train = replace(take_rows(train, kept), account=moved), of_train.take(kept)
    selected = {
        "train": _sampled(train, of_train, settings.max_train_samples, (seed, Stage.TRAIN_SAMPLE)),
        "validation": _sampled(validation, of_validation, settings.max_eval_samples, (seed, Stage.VALIDATION_SAMPLE)),
    }
    if "test" in tables:
        limit = settings.max_predict_samples
        selected["test"] = _sampled(tables["test"], strata["test"], limit, (seed, Stage.TEST_SAMPLE))
    for table in selected.values():
        assert len(table.texts) == table.account.used, "a row is neither used nor listed"
    return selected


def _sampled(table: Table, strata: Strata, limit: int | None, draw: tuple[int, Stage]) -> Table:
    seed, stage = draw
    chosen = sample(strata, limit, seed=seed, stage=stage)
    if len(chosen) == len(table.texts):
        return table
    beyond = list_others(len(table.texts), chosen)
    account = table.account.without("over_max_samples", table.places.rows(beyond))
    return replace(take_rows(table, chosen), account=account)
