"""LoRA: what is trained, what is saved, what comes back, and what is refused."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForSequenceClassification, AutoTokenizer, PreTrainedModel

from hfpipe.config import ModelSettings
from hfpipe.errors import CheckpointError, ConfigError
from hfpipe.models.adapters import (
    ADAPTER_CONFIG,
    ADAPTER_WEIGHTS,
    add_adapter,
    find_new_modules,
    is_adapted,
    merge_adapter,
    save_adapter,
)
from hfpipe.models.classifiers import load_classifier
from hfpipe.training.weights import load_weights

NAMES = ("bad", "good", "neither")
IDS = torch.arange(5, 17)[None]


def settings(folder: Path, **given: object) -> ModelSettings:
    return ModelSettings(model_name_or_path=str(folder), use_peft=True, lora_dropout=0.0, **given)  # type: ignore[arg-type]


def adapted(folder: Path, **given: object) -> tuple[torch.nn.Module, tuple[str, ...]]:
    """Return a classifier of three labels with its adapter, every trained weight moved off its first value."""
    torch.manual_seed(1)
    loaded = load_classifier(settings(folder), NAMES, AutoTokenizer.from_pretrained(folder))
    model = add_adapter(settings(folder, **given), loaded.model, new_parameters=loaded.new_parameters)
    with torch.no_grad():
        for parameter in trained(model).values():
            parameter.add_(torch.randn_like(parameter), alpha=0.1)
    return model.eval(), loaded.new_parameters


def trained(model: torch.nn.Module) -> dict[str, torch.nn.Parameter]:
    return {name: parameter for name, parameter in model.named_parameters() if parameter.requires_grad}


@pytest.mark.parametrize("architecture", ["bert", "distilbert", "modernbert", "deberta-v2", "gpt2", "llama"])
def test_adapter_and_new_parts_are_trained_and_nothing_else(
    architecture: str, checkpoints: Callable[[str], Path]
) -> None:
    model, new = adapted(checkpoints(architecture))
    names = [name.removeprefix("base_model.model.") for name in trained(model)]
    matrices = [name for name in names if ".lora_" in name]
    whole = {name.replace(".modules_to_save.default", "") for name in names if name not in matrices}
    assert len(matrices) >= 4
    assert whole == set(new) and new
    assert {"modernbert": "head.dense.weight", "deberta-v2": "pooler.dense.weight"}.get(architecture, new[0]) in new


@pytest.mark.parametrize("architecture", ["bert", "modernbert", "gpt2"])
def test_a_saved_adapter_comes_back_into_a_new_model(
    architecture: str, checkpoints: Callable[[str], Path], tmp_path: Path
) -> None:
    model, _ = adapted(checkpoints(architecture))
    save_adapter(model, tmp_path)
    assert sorted(file.name for file in tmp_path.iterdir()) == [ADAPTER_CONFIG, ADAPTER_WEIGHTS]
    torch.manual_seed(2)
    loaded = load_classifier(
        settings(checkpoints(architecture)), NAMES, AutoTokenizer.from_pretrained(checkpoints(architecture))
    )
    other = add_adapter(settings(checkpoints(architecture)), loaded.model, new_parameters=loaded.new_parameters).eval()
    assert not torch.equal(other(input_ids=IDS).logits, model(input_ids=IDS).logits)
    load_weights(other, tmp_path)
    assert torch.equal(other(input_ids=IDS).logits, model(input_ids=IDS).logits)
    for name, parameter in trained(model).items():
        assert torch.equal(trained(other)[name], parameter), name


@pytest.mark.parametrize("architecture", ["bert", "modernbert", "gpt2", "llama"])
def test_merged_weights_say_what_the_adapted_model_says(
    architecture: str, checkpoints: Callable[[str], Path], tmp_path: Path
) -> None:
    model, _ = adapted(checkpoints(architecture))
    said = model(input_ids=IDS).logits
    merged = merge_adapter(model)
    assert not is_adapted(merged) and isinstance(merged, PreTrainedModel)
    merged.save_pretrained(tmp_path)
    plain, info = AutoModelForSequenceClassification.from_pretrained(tmp_path, output_loading_info=True)
    assert not info["missing_keys"] and not info["unexpected_keys"]
    torch.testing.assert_close(plain.eval()(input_ids=IDS).logits, said, rtol=0, atol=1e-6)
    assert tuple(plain.config.id2label.values()) == NAMES


def test_the_file_of_the_adapter_names_the_model_as_others_know_it(
    checkpoints: Callable[[str], Path], tmp_path: Path
) -> None:
    model, _ = adapted(checkpoints("bert"), lora_r=4, lora_target_modules=("query", "key"), model_revision="v2")
    save_adapter(model, tmp_path)
    written = json.loads((tmp_path / ADAPTER_CONFIG).read_text())
    assert written["base_model_name_or_path"] == str(checkpoints("bert"))
    assert (written["r"], written["target_modules"], written["revision"]) == (4, ["key", "query"], "v2")
    assert (written["task_type"], written["inference_mode"]) == ("SEQ_CLS", True)


def test_without_use_peft_the_model_stays_what_it_is(checkpoints: Callable[[str], Path]) -> None:
    plain = ModelSettings(model_name_or_path=str(checkpoints("bert")))
    model = load_classifier(plain, NAMES, AutoTokenizer.from_pretrained(checkpoints("bert"))).model
    assert add_adapter(plain, model) is model


def test_new_modules_are_the_outermost_ones() -> None:
    inner = torch.nn.Sequential(torch.nn.Linear(2, 2), torch.nn.LayerNorm(2))
    model = torch.nn.ModuleDict({"body": torch.nn.Linear(2, 2), "head": inner})
    new = [name for name, _ in model.named_parameters() if name.startswith("head")]
    assert find_new_modules(model, new) == ["head"]
    assert find_new_modules(model, ["head.1.weight", "head.1.bias"]) == ["head.1"]
    with pytest.raises(ConfigError) as caught:
        find_new_modules(model, ["body.bias"])
    assert str(caught.value.problems[0]) == (
        "use_peft: true: the checkpoint lacks body.bias, which an adapter cannot bring; "
        "leave use_peft out to train all weights"
    )


def test_modules_that_are_not_there_are_all_named(checkpoints: Callable[[str], Path]) -> None:
    with pytest.raises(ConfigError) as caught:
        adapted(checkpoints("bert"), lora_target_modules=("query", "qurey", "q_proj"))
    assert [str(problem) for problem in caught.value.problems] == [
        f"lora_target_modules: {name}: no module has this name; linear modules: classifier, dense, key, query, value"
        for name in ("qurey", "q_proj")
    ]


def test_a_module_that_can_have_none_is_refused(checkpoints: Callable[[str], Path]) -> None:
    with pytest.raises(ConfigError) as caught:
        adapted(checkpoints("bert"), lora_target_modules=("LayerNorm",))
    assert str(caught.value.problems[0]) == (
        "lora_target_modules: LayerNorm: Target module LayerNorm((32,), eps=1e-12, elementwise_affine=True, bias=True) "
        "is not supported; name linear layers, or write lora_target_modules: all-linear"
    )


def test_a_damaged_adapter_is_refused(checkpoints: Callable[[str], Path], tmp_path: Path) -> None:
    model, _ = adapted(checkpoints("bert"))
    with pytest.raises(CheckpointError, match=r"adapter_model\.safetensors: cannot be loaded \(No such file"):
        load_weights(model, tmp_path)
    other, _ = adapted(checkpoints("bert"), lora_r=2)
    save_adapter(other, tmp_path)
    with pytest.raises(CheckpointError, match=r"its weights are not those of the adapter: base_model\..* differs; put"):
        load_weights(model, tmp_path)
    (tmp_path / ADAPTER_WEIGHTS).write_bytes((tmp_path / ADAPTER_WEIGHTS).read_bytes()[:-10])
    with pytest.raises(CheckpointError, match=r"cannot be loaded \(.*; put its files back"):
        load_weights(model, tmp_path)
