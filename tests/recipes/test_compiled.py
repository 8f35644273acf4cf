"""Compiled models: the losses, evaluations and saved weights of models that are not, up to rounding.

The graphs are those of any device; `aot_eager` runs them without kernels made for one, which take a compiler.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from conftest import run_recipe_here
from safetensors.torch import load_file
from test_resume import classifier_settings, language_model_settings

from hfpipe.records.run_directory import read_history, read_json

# of a few steps in float32
LOSSES, WEIGHTS = 1e-5, 1e-4
WITHOUT_DROPOUT = {
    "finetune_classifier": "hidden_dropout_prob=0,attention_probs_dropout_prob=0",
    "pretrain_causal_lm": "hidden_size=32,intermediate_size=48,num_hidden_layers=2",
}


def run(recipe: str, settings: dict[str, Any], folder: Path, **given: object) -> list[tuple[str, float]]:
    """Return every loss and norm of a run, in order."""
    run_recipe_here(recipe, {**settings, **given, "output_dir": folder})
    named = [(name, event) for event in read_history(folder / "history.jsonl") for name in ("loss", "eval_loss")]
    return [(name, event[name]) for name, event in named if name in event]


# torch's compiler looks at the gradient of whatever it meets, and hides its own warning from all but pytest
@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor that is not a leaf:UserWarning")
@pytest.mark.parametrize("recipe", ["pretrain_causal_lm", pytest.param("finetune_classifier", marks=pytest.mark.slow)])
def test_losses_and_weights_are_those_of_the_plain_model(
    recipe: str,
    checkpoints: Callable[[str], Path],
    reviews_csv: Callable[[int], Path],
    tmp_path: Path,
) -> None:
    if recipe == "pretrain_causal_lm":
        corpus = tmp_path / "corpus.txt"
        corpus.write_text("".join(f"line {index} of plain words, {index * index}\n" for index in range(40)))
        settings = language_model_settings(corpus)
    else:
        settings = {**classifier_settings(reviews_csv(24), checkpoints("bert")), "baselines": "[]"}
    settings |= {"config_overrides": WITHOUT_DROPOUT[recipe], "num_train_epochs": 1, "learning_rate": 1e-3}
    plain = run(recipe, settings, tmp_path / "plain")
    compiled = run(recipe, settings, tmp_path / "compiled", torch_compile="true", torch_compile_backend="aot_eager")
    choice = read_json(tmp_path / "compiled" / "run.json")["performance_plan"]["compile"]
    assert choice == {"value": True, "origin": "--torch_compile"}
    assert [name for name, _ in compiled] == [name for name, _ in plain]
    assert [loss for _, loss in compiled] == pytest.approx([loss for _, loss in plain], rel=LOSSES)
    one, other = (load_file(tmp_path / name / "model.safetensors") for name in ("plain", "compiled"))
    assert one.keys() == other.keys()
    assert max(float((one[name] - other[name]).abs().max()) for name in one) < WEIGHTS
