"""Models whose files and modules differ, in whole runs: resuming, loading weights, and the check of the saved model."""

from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import make_review, run_recipe_here
from safetensors.torch import load_file, save_file
from test_resume import language_model_settings, outcome, stop_and_go_on
from transformers import PreTrainedModel

from hfpipe.config import ModelSettings
from hfpipe.data.corpus import Blocks
from hfpipe.data.places import Places
from hfpipe.errors import CheckpointError
from hfpipe.models.causal import load_causal_lm
from hfpipe.models.tokenizers import train_tokenizer
from hfpipe.records.run_directory import read_json
from hfpipe.training.datasets import BlockRows
from hfpipe.training.export import check_reload, compute_outputs
from hfpipe.training.weights import load_weights

SHAPES = {
    # its experts are saved one by one and held as one tensor
    "mixtral": "hidden_size=32,intermediate_size=32,num_hidden_layers=1,num_local_experts=2",
    "gpt2": "n_embd=32,n_layer=1,n_head=2",
    "llama": "hidden_size=32,intermediate_size=48,num_hidden_layers=1",
}
TOKENIZER = train_tokenizer([make_review(index)[0] for index in range(40)], 300, show_progress=False)
ROWS = BlockRows(
    Blocks(np.arange(48, dtype=np.int32), 16, stride=16),
    document_bytes=np.array([48]),
    document_starts=np.array([0]),
    places=Places(("t.txt",), np.zeros(1, dtype=np.int64), np.array([1])),
)


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    path = tmp_path / "corpus.txt"
    path.write_text("".join(f"line {index} of a corpus of plain words, {index * index}\n" for index in range(40)))
    return path


def make_model(model_type: str, *, seed: int, dtype: str = "float32", attention: str | None = None) -> PreTrainedModel:
    overrides = dict(field.split("=") for field in SHAPES[model_type].split(","))
    settings = ModelSettings(
        model_size="tiny",
        model_type=model_type,
        config_overrides={name: int(value) for name, value in overrides.items()},
        dtype=dtype,
        attn_implementation=attention,
    )
    torch.manual_seed(seed)
    return load_causal_lm(settings, TOKENIZER, block_size=16)


def save(model: PreTrainedModel, folder: Path) -> Path:
    model.save_pretrained(folder)
    TOKENIZER.save_pretrained(folder)
    return folder / "model.safetensors"


@pytest.mark.parametrize("model_type", sorted(SHAPES))
def test_a_stopped_run_ends_in_the_same_bits(model_type: str, corpus: Path, tmp_path: Path) -> None:
    shape = {"model_type": model_type, "config_overrides": SHAPES[model_type], "learning_rate": 0.05}
    settings = {**language_model_settings(corpus), **shape}
    run_recipe_here("pretrain_causal_lm", {**settings, "output_dir": tmp_path / "straight"})
    step = stop_and_go_on("pretrain_causal_lm", {**settings, "output_dir": tmp_path / "stopped"}, events=1)
    assert step > 0
    assert outcome(tmp_path / "stopped") == outcome(tmp_path / "straight")


@pytest.mark.parametrize("model_type", sorted(SHAPES))
def test_every_weight_is_loaded_and_nothing_is_drawn(model_type: str, tmp_path: Path) -> None:
    saved, other = make_model(model_type, seed=1), make_model(model_type, seed=2)
    save(saved, tmp_path)
    parameters = list(other.parameters())
    drawn = torch.random.get_rng_state()
    load_weights(other, tmp_path)
    assert torch.equal(torch.random.get_rng_state(), drawn)
    assert all(before is after for before, after in zip(parameters, other.parameters(), strict=True))
    wanted = saved.state_dict()
    for name, value in other.state_dict().items():
        torch.testing.assert_close(value, wanted[name], rtol=0, atol=0)


def test_weights_that_are_not_all_there_are_refused(tmp_path: Path) -> None:
    model = make_model("gpt2", seed=1)
    file = save(model, tmp_path)
    weights = load_file(file)
    name = "transformer.ln_f.bias"
    save_file({key: value for key, value in weights.items() if key != name}, file, metadata={"format": "pt"})
    with pytest.raises(CheckpointError, match=f"its weights are not those of the model: {name} is in only one of them"):
        load_weights(model, tmp_path)
    file.write_bytes(file.read_bytes()[:-10])
    with pytest.raises(CheckpointError, match="its weights cannot be loaded"):
        load_weights(model, tmp_path)


@pytest.mark.parametrize("attention", ["eager", "sdpa"])
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("model_type", ["gpt2", "llama"])
def test_a_model_saved_whole_comes_back(model_type: str, dtype: str, attention: str, tmp_path: Path) -> None:
    model = make_model(model_type, seed=1, dtype=dtype, attention=attention)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(8)  # logits far from 0, as those of a trained model
    save(model, tmp_path)
    check_reload(model, compute_outputs(model, ROWS), folder=tmp_path, rows=ROWS)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_a_weight_that_was_not_saved_is_found(dtype: str, tmp_path: Path) -> None:
    model = make_model("gpt2", seed=1, dtype=dtype)
    file = save(model, tmp_path)
    weights = load_file(file)
    weights["transformer.ln_f.weight"] *= 2
    save_file(weights, file, metadata={"format": "pt"})
    with pytest.raises(CheckpointError, match="after reloading: the saved model is not the trained one"):
        check_reload(model, compute_outputs(model, ROWS), folder=tmp_path, rows=ROWS)


def test_a_run_in_bfloat16_with_eager_attention_is_done(corpus: Path, tmp_path: Path) -> None:
    settings = language_model_settings(corpus) | {"dtype": "bfloat16", "attn_implementation": "eager"}
    run_recipe_here("pretrain_causal_lm", {**settings, "output_dir": tmp_path / "run", "learning_rate": 0.05})
    assert read_json(tmp_path / "run" / "run.json")["status"] == "done"
