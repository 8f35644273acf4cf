"""A run that an earlier version began goes on under one that knows more settings."""

from dataclasses import replace
from pathlib import Path

import pytest

from hfpipe.config import RunConfig, change_of, load_config
from hfpipe.errors import CheckpointError
from hfpipe.records.identity import Terms
from hfpipe.records.opening import Opening, open_run
from hfpipe.records.run_directory import read_json, write_json
from hfpipe.records.sessions import FINGERPRINT, begin_session, describe_settings
from hfpipe.training.session import fingerprint_of

NEW = "doc_stride"  # identity, with a default that is a number


def configure(folder: Path, *settings: str) -> RunConfig:
    own = [f"--output_dir={folder}", "--train_file=x.csv", "--model_name_or_path=x", *settings]
    return load_config(own, recipe="finetune_classifier")


def begin_before(config: RunConfig, key: str) -> None:
    """Record the run as a version would have that did not know `key`."""
    known = {name: value for name, value in config.flat().items() if name != key}
    facts = {"config": describe_settings(known, {}), FINGERPRINT: "of that version"}
    begin_session(config.output_dir, facts, from_step=0)


def open_now(config: RunConfig) -> Opening:
    terms = Terms(change_of, config.place, config.default_of)
    return open_run(config.output_dir, config.flat(), fresh_start=False, terms=terms)


def test_a_setting_that_the_record_does_not_know_had_its_default(tmp_path: Path) -> None:
    config = configure(tmp_path / "run")
    default = config.flat()[NEW]
    assert change_of(NEW) == "identity"
    assert default is not None
    begin_before(config, NEW)
    assert open_now(config).kind == "resume"
    other = replace(config, data=replace(config.data, doc_stride=default + 1))
    with pytest.raises(
        CheckpointError, match=rf"{NEW}: {default + 1}: another value than the run began with, {default};"
    ):
        open_now(other)


def test_a_recipes_own_default_counts_and_trainers_are_not_guessed(tmp_path: Path) -> None:
    config = configure(tmp_path / "run", "--weight_decay=0.0")
    begin_before(config, "weight_decay")
    with pytest.raises(CheckpointError, match=r"weight_decay: 0\.0: another value than the run began with, unset"):
        open_now(config)
    assert config.default_of("weight_decay") is None
    assert config.default_of("never_heard_of") is None
    assert config.default_of("seed") == 42


def test_a_run_keeps_the_fingerprint_it_began_with(tmp_path: Path) -> None:
    config = configure(tmp_path / "run")
    own = fingerprint_of(config)
    assert len(own) == 64
    begin_before(config, NEW)
    assert fingerprint_of(config) == "of that version"
    record = read_json(tmp_path / "run" / "run.json")
    write_json(tmp_path / "run" / "run.json", {key: value for key, value in record.items() if key != FINGERPRINT})
    assert fingerprint_of(config) == own
