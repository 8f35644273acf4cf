"""Loading finished models: what is read beside the weights, and every refusal by its message."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny_models import bert_config, llama_config, make_classifier, make_generator, make_tokenizer, message, save_model
from transformers import GPT2Config, PreTrainedConfig, PreTrainedModel, PreTrainedTokenizerFast, RobertaConfig

from hfpipe.inference.loading import (
    LoadedClassifier,
    find_newest_checkpoint,
    load_classifier,
    load_generator,
)
from hfpipe.models.limits import find_length_limit, find_positions
from hfpipe.records.inference_settings import InferenceSettings, write_inference_settings


@pytest.fixture(scope="module")
def tokenizer() -> PreTrainedTokenizerFast:
    return make_tokenizer()


@pytest.fixture(scope="module")
def classifier() -> PreTrainedModel:
    return make_classifier(bert_config())


@pytest.fixture(scope="module")
def generator() -> PreTrainedModel:
    return make_generator(llama_config())


Save = Callable[..., Path]


@pytest.fixture
def save_run(tmp_path: Path, tokenizer: PreTrainedTokenizerFast) -> Save:
    def save(model: PreTrainedModel, run: dict[str, Any] | None = None, name: str = "run") -> Path:
        folder = save_model(tmp_path / name, model, tokenizer)
        if run is not None:
            (folder / "run.json").write_text(json.dumps(run))
        return folder

    return save


DONE = {
    "status": "done",
}
TRAINED = InferenceSettings(("review",), label_column_name="stars", max_seq_length=24)


def test_a_finished_run(classifier: PreTrainedModel, save_run: Save) -> None:
    folder = save_run(classifier, DONE)
    write_inference_settings(folder, TRAINED)
    loaded = load_classifier(folder)
    assert isinstance(loaded, LoadedClassifier)
    assert loaded.label_names == ("neg", "mid", "pos")
    assert loaded.settings == TRAINED
    assert loaded.treatment.rule.max_length == 24
    assert not loaded.model.training


def test_a_folder_without_a_record(save_run: Save) -> None:
    loaded = load_classifier(save_run(make_classifier(bert_config()).to(torch.bfloat16)))
    # the model's positions: the tokenizer names no limit
    assert loaded.settings == InferenceSettings(max_seq_length=64)
    assert loaded.model.dtype == torch.float32


def test_a_generator_keeps_its_type(save_run: Save) -> None:
    loaded = load_generator(save_run(make_generator(llama_config()).to(torch.bfloat16)))
    assert loaded.model.dtype == torch.bfloat16
    assert not loaded.model.training


def test_length_limits(tokenizer: PreTrainedTokenizerFast) -> None:
    roberta = RobertaConfig(max_position_embeddings=514)
    assert (find_positions(roberta), find_positions(GPT2Config(n_positions=32))) == (512, 32)
    assert find_length_limit(roberta, tokenizer) == 512
    short = make_tokenizer()
    short.model_max_length = 128
    assert find_length_limit(roberta, short) == 128
    tokenizer.name_or_path = "runs/endless"
    assert message(lambda: find_length_limit(PreTrainedConfig(), tokenizer)) == (
        "runs/endless: neither the model nor the tokenizer says how long a text may be; "
        "write model_max_length into tokenizer_config.json"
    )


def test_unfinished_run_names_its_newest_checkpoint(classifier: PreTrainedModel, save_run: Save) -> None:
    running = {**DONE, "status": "running"}
    folder = save_run(classifier, running)
    write_inference_settings(folder, TRAINED)
    for step in (9, 10):
        save_run(classifier, name=f"run/checkpoints/checkpoint-{step}")
    (folder / "checkpoints/checkpoint-11").mkdir()  # a save that was cut off
    newest = folder / "checkpoints/checkpoint-10"
    assert find_newest_checkpoint(folder) == newest
    assert message(lambda: load_classifier(folder)) == (
        f"{folder}: the run is not done, its status is 'running'; let it finish by the command that started it, "
        f"or use its newest checkpoint: {newest}"
    )
    assert load_classifier(newest).settings == TRAINED  # the run's, from beside the checkpoints
    assert load_classifier(folder, must_be_done=False).settings == TRAINED


def test_unfinished_run_without_a_checkpoint(tmp_path: Path) -> None:
    (tmp_path / "run.json").write_text('{"status": "failed"}')
    assert message(lambda: load_generator(tmp_path)) == (
        f"{tmp_path}: the run is not done, its status is 'failed'; let it finish by the command that started it"
    )


def test_what_is_no_run_directory(tmp_path: Path) -> None:
    missing = tmp_path / "missing"
    assert message(lambda: load_classifier(missing)) == f"{missing}: there is no such folder; name a run directory"
    assert message(lambda: load_classifier(tmp_path)) == (
        f"{tmp_path}: is not a run directory: it holds neither run.json nor config.json; "
        "name the output_dir of a finished run"
    )
    (tmp_path / "run.json").write_text('{"status": "done"}')
    assert message(lambda: load_classifier(tmp_path)) == (
        f"{tmp_path}: holds no config.json, so no model was saved here; name the output_dir of a finished run"
    )


def test_the_wrong_kind(classifier: PreTrainedModel, generator: PreTrainedModel, save_run: Save) -> None:
    language_model, labels = save_run(generator, name="lm"), save_run(classifier, name="labels")
    assert message(lambda: load_classifier(language_model)) == (
        f"{language_model}/config.json: LlamaForCausalLM: is not a text classifier; "
        "name a fine-tuning run; for a causal language model use generate"
    )
    assert message(lambda: load_generator(labels)) == (
        f"{labels}/config.json: BertForSequenceClassification: is not a causal language model; "
        "name a pretraining run; for a classifier use predict"
    )


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        (
            {"problem_type": "regression"},
            "3 labels: a model that predicts several numbers at once is not supported; use another model",
        ),
    ],
)
def test_classifiers_of_another_sort(changes: dict[str, Any], expected: str, save_run: Save) -> None:
    folder = save_run(make_classifier(bert_config(**changes)))
    assert message(lambda: load_classifier(folder)) == f"{folder}/config.json: {expected}"


def test_pickled_weights_are_refused_before_they_are_read(classifier: PreTrainedModel, save_run: Save) -> None:
    folder = save_run(classifier)
    (folder / "model.safetensors").unlink()
    assert message(lambda: load_classifier(folder)) == (
        f"{folder}: holds no model.safetensors; name a folder that holds weights"
    )
    (folder / "pytorch_model.bin").write_bytes(b"whatever")
    assert message(lambda: load_classifier(folder)) == (
        f"{folder}/pytorch_model.bin: the weights are a pickle file, and reading one can run any code it carries; "
        "save the model as model.safetensors where you trust it"
    )


def test_an_index_that_leads_elsewhere(classifier: PreTrainedModel, save_run: Save) -> None:
    folder = save_run(classifier)
    index = folder / "model.safetensors.index.json"
    index.write_text('{"weight_map": {"classifier.bias": "../elsewhere.safetensors"}}')
    assert message(lambda: load_classifier(folder)) == (
        f"{index}: ../elsewhere.safetensors: names weights outside its own folder; "
        "get the checkpoint from its source again"
    )


def test_weights_cut_short(classifier: PreTrainedModel, save_run: Save) -> None:
    folder = save_run(classifier)
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:2_000])
    found = message(lambda: load_classifier(folder))
    rule = "is not safetensors: its header would have "
    assert found.startswith(f"{path}: {rule}")
    assert found.endswith(" bytes, the file 2,000; get the checkpoint from its source again")


def test_a_head_that_is_not_in_the_weights(classifier: PreTrainedModel, save_run: Save) -> None:
    folder = save_run(classifier)
    config = json.loads((folder / "config.json").read_text())
    classifier.bert.save_pretrained(folder)
    (folder / "config.json").write_text(json.dumps(config))
    assert message(lambda: load_classifier(folder)) == (
        f"{folder}: the weights lack 2 of the model's parameters, classifier.bias among them; "
        "the answers would be random; name a folder whose model was saved whole"
    )


def test_a_missing_tokenizer(classifier: PreTrainedModel, generator: PreTrainedModel, tmp_path: Path) -> None:
    classifier.save_pretrained(tmp_path / "labels")
    assert message(lambda: load_classifier(tmp_path / "labels")) == (
        f"{tmp_path}/labels: holds no tokenizer; save the model's tokenizer beside it"
    )
    generator.save_pretrained(tmp_path / "lm")
    found = message(lambda: load_generator(tmp_path / "lm"))
    assert found.startswith(f"{tmp_path}/lm: its tokenizer cannot be loaded (")
    assert found.endswith("); save the model's tokenizer beside it")


def test_a_tokenizer_of_another_model(save_run: Save, tokenizer: PreTrainedTokenizerFast) -> None:
    folder = save_run(make_classifier(bert_config(vocab_size=290)))
    assert message(lambda: load_classifier(folder)) == (
        f"{folder}: its tokenizer has {len(tokenizer)} tokens, more than the 290 the model knows; "
        "save the model's tokenizer beside it"
    )
