"""A test part that is held back, and rows that stay the same whatever the seed of training."""

from pathlib import Path

import pytest
from data_files import GOOD, write_csv

from hfpipe.config import RunConfig, change_of, load_config
from hfpipe.config.resolve import without_settings
from hfpipe.data.corpora import load_corpus, load_labelled
from hfpipe.data.streamed_parts import StreamedParts
from hfpipe.errors import ConfigError
from hfpipe.launch import find_opening
from hfpipe.records.identity import Terms, compare_settings
from hfpipe.records.run_directory import CHECKPOINTS
from hfpipe.records.sessions import begin_session, describe_settings, end_session

NOTE = "test: held back: none of its rows is scored or looked at in this run (score_test: false)"
TERMS = Terms(change_of, str, {"score_test": True}.get)


@pytest.fixture(autouse=True)
def _in_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def classifier(**settings: object) -> RunConfig:
    write_csv("train.csv", [*GOOD, ("judged", "neg")])
    write_csv("test.csv", [("judged", "pos"), ("other", "neg")])
    return resolve("finetune_classifier", test_file="test.csv", train_file="train.csv", **settings)


def resolve(recipe: str, **settings: object) -> RunConfig:
    given = {"model_name_or_path": "demo:minilm", **settings} if recipe == "finetune_classifier" else settings
    return load_config([f"{key}={value}" for key, value in given.items()], recipe=recipe)


def test_a_test_part_that_is_held_back_is_read_and_kept_from_training_alone() -> None:
    whole, held = load_labelled(classifier()), load_labelled(classifier(score_test="false"))
    assert whole.test is not None and held.test is None
    assert NOTE in held.summary.notes and NOTE not in whole.summary.notes
    assert held.summary.parts["test"] == whole.summary.parts["test"]
    assert held.summary.parts["train"].left_out["in_validation_or_test"].examples == ("train.csv:22",)
    assert (held.train.texts, held.validation.texts) == (whole.train.texts, whole.validation.texts)


def test_a_run_without_a_test_part_holds_nothing_back() -> None:
    write_csv("train.csv", GOOD)
    parts = load_labelled(resolve("finetune_classifier", train_file="train.csv", score_test="false"))
    assert NOTE not in parts.summary.notes


@pytest.mark.parametrize("streaming", [False, True])
def test_documents_to_test_with_are_held_back_too(streaming: bool) -> None:
    for name in ("train", "test"):
        Path(f"{name}.txt").write_text("".join(f"{name} document {row}\n" for row in range(20)))
    files = {"train_file": "train.txt", "test_file": "test.txt", "document_per": "line", "tokenizer_name": "gpt2"}
    stream = {"streaming": "true", "max_steps": 2, "max_eval_samples": 2} if streaming else {}
    whole, held = (
        load_corpus(resolve("pretrain_causal_lm", **files, **stream, score_test=score)) for score in ("true", "false")
    )
    assert whole.test is not None and held.test is None
    assert (NOTE in held.summary.notes, NOTE in whole.summary.notes) == (True, False)
    if isinstance(held, StreamedParts):
        # what is trained on is kept apart from it all the same
        assert isinstance(whole, StreamedParts) and held.train.elsewhere == whole.train.elsewhere


def rows_of(config: RunConfig) -> list[list[str]]:
    parts = load_labelled(config)
    assert parts.test is not None
    return [parts.train.texts, parts.validation.texts, parts.test.texts]


def test_one_split_seed_gives_the_same_rows_under_every_seed() -> None:
    samples = {"max_train_samples": 9, "max_eval_samples": 2, "max_predict_samples": 1, "validation_fraction": 0.4}
    fixed = [rows_of(classifier(seed=seed, split_seed=5, **samples)) for seed in range(4)]
    assert fixed == [rows_of(classifier(seed=5, **samples))] * 4
    assert len({str(rows_of(classifier(seed=seed, **samples))) for seed in range(4)}) > 1


def test_a_stream_orders_its_shards_by_the_seed_and_holds_out_by_the_split_seed() -> None:
    for shard in range(6):
        Path(f"part-{shard}.txt").write_text("".join(f"shard {shard} document {row}\n" for row in range(30)))
    stream = {"streaming": "true", "max_steps": 2, "max_eval_samples": 4, "tokenizer_name": "gpt2"}
    given = {"train_file": "part-*.txt", "document_per": "line", **stream}
    fixed = [load_corpus(resolve("pretrain_causal_lm", **given, seed=seed, split_seed=1)) for seed in (1, 2)]
    plain = [load_corpus(resolve("pretrain_causal_lm", **given, seed=seed)) for seed in (1, 2)]
    texts = [f"shard 0 document {row}" for row in range(30)]

    def fates(parts: object) -> list[str]:
        assert isinstance(parts, StreamedParts)
        return [parts.train.fate(text) for text in texts]

    def order(parts: object) -> list[int]:
        assert isinstance(parts, StreamedParts)
        return parts.train.order(0)

    assert fates(fixed[0]) == fates(fixed[1]) == fates(plain[0]) != fates(plain[1])
    assert [order(parts) for parts in fixed] == [order(parts) for parts in plain]
    assert order(plain[0]) != order(plain[1])


def test_a_test_part_may_be_scored_after_all_and_not_be_forgotten() -> None:
    for saved, wanted, grown in ((False, True, ("score_test",)), (True, False, ()), (True, True, ())):
        found = compare_settings({"score_test": saved}, {"score_test": wanted}, terms=TERMS, is_done=True)
        assert found == (grown, [])
    # a record of a version that did not know it: the test part was scored
    assert compare_settings({}, {"score_test": True}, terms=TERMS) == ((), [])


def test_a_finished_run_goes_on_where_its_test_part_is_asked_for() -> None:
    held = classifier(score_test="false", output_dir="run")
    begin_session(Path("run"), {"config": describe_settings(held.flat(), {})}, from_step=0)
    end_session(Path("run"), status="done", to_step=3)
    assert find_opening(held).kind == "done"
    assert find_opening(classifier(output_dir="run")).kind == "resume"
    assert not (Path("run") / CHECKPOINTS).exists()


def test_settings_are_left_out_in_every_form_they_are_written_in() -> None:
    words = ["seed=1", "--output_dir", "x", "--bf16", "--output-dir=y", "output_dir=z", "--score_test", "--seed=2"]
    assert without_settings(words, ("output_dir", "score_test")) == ["seed=1", "--bf16", "--seed=2"]
    # what cannot be read is left for who tells about it
    assert without_settings(["stray", "--output_dir"], ("output_dir",)) == ["stray", "--output_dir"]


def test_the_trainers_own_word_for_it_is_refused_with_ours() -> None:
    with pytest.raises(ConfigError, match="use seed, or split_seed for the split alone"):
        classifier(data_seed=3)
