"""Fixtures of all tests: no network, tiny models and tokenizers made on the spot, recipes run in this process."""

import functools
import gc
import importlib.util
import os
import signal
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

from offline import HUB_PORT  # first of all: libraries read their endpoint when they are imported

os.environ["TOKENIZERS_PARALLELISM"] = "false"
# Tiny models gain nothing from a second thread, and a fixed number keeps sums bit-equal.
os.environ["OMP_NUM_THREADS"] = "1"

import pytest
from hub_server import HubServer

from hfpipe.config import RunConfig, load_config

if TYPE_CHECKING:
    from crash_runs import Run

# Started by nohup or in the background they are ignored, by every process of the tests too; some tests need them.
signal.signal(signal.SIGHUP, signal.SIG_DFL)
signal.signal(signal.SIGINT, signal.default_int_handler)

ROOT = Path(__file__).parent.parent
MEMORY = Path("/dev/shm")


def pytest_configure(config: pytest.Config) -> None:
    """Put the tests' folders into memory where 4 GB of it are free for files: a run waits for a disk a hundred times.

    A folder named by --basetemp or PYTEST_DEBUG_TEMPROOT is kept. Some tests write programs and run them.
    """
    if config.option.basetemp is None and "PYTEST_DEBUG_TEMPROOT" not in os.environ and MEMORY.is_dir():
        room = os.statvfs(MEMORY)
        if room.f_bavail * room.f_frsize > 4_000_000_000 and not room.f_flag & os.ST_NOEXEC:
            os.environ["PYTEST_DEBUG_TEMPROOT"] = str(MEMORY)


POSITIVE = ("good", "great", "lovely", "fine", "superb", "warm")
NEGATIVE = ("bad", "awful", "poor", "dull", "sad", "cold")
NEUTRAL = ("a", "the", "film", "plot", "scene", "with", "music", "and")


def make_review(index: int) -> tuple[str, str]:
    """Return the text and label of a made-up review: 3 to 22 words, no two alike."""
    words = POSITIVE if index % 2 else NEGATIVE
    length = 3 + (index * 7) % 20
    text = " ".join((words if place % 3 else NEUTRAL)[(index + place * place) % 6] for place in range(length))
    return f"{text} number {index}", "pos" if index % 2 else "neg"


@pytest.fixture(scope="module", autouse=True)
def frozen_libraries() -> None:
    """Keep the garbage collector from what is loaded when a file of tests begins.

    Trainer collects all garbage when a run begins and ends. Going through half a million objects of the libraries each
    time was 0.4 s of the 0.75 s of CPU that a run of a tiny language model took, and 0.6 s of a classifier's 1.65 s.
    """
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="session")
def reviews_csv(tmp_path_factory: pytest.TempPathFactory) -> Callable[[int], Path]:
    """Return a function that writes a CSV of so many reviews and returns its path."""
    folder = tmp_path_factory.mktemp("reviews")

    def write(count: int) -> Path:
        path = folder / f"reviews_{count}.csv"
        rows = [make_review(index) for index in range(count)]
        path.write_text("text,label\n" + "".join(f"{text},{label}\n" for text, label in rows), encoding="utf-8")
        return path

    return write


@pytest.fixture(scope="session")
def checkpoints(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Return a function that gives the folder of a tiny checkpoint by the name of its architecture."""
    folder = tmp_path_factory.mktemp("checkpoints")

    def make(architecture: str) -> Path:
        path = folder / architecture
        if not path.exists():
            save_tiny_checkpoint(architecture, path)
        return path

    return make


@pytest.fixture(scope="session")
def runs(
    checkpoints: Callable[[str], Path], reviews_csv: Callable[[int], Path], tmp_path_factory: pytest.TempPathFactory
) -> "Callable[[str], Run]":
    """Return a function that gives a run to be killed, by name and number of processes, gone through once."""
    from crash_runs import go_straight

    folder = tmp_path_factory.mktemp("straight")
    return functools.cache(lambda case: go_straight(case, reviews_csv(44), checkpoints("bert"), folder=folder))


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> Iterator[HubServer]:
    """A Hub of this test's own at the endpoint of this process: online, with empty caches and nobody logged in.

    Processes that the test starts reach it too. Log in by `monkeypatch.setenv("HF_TOKEN", ...)`.
    """
    import huggingface_hub

    home = tmp_path_factory.mktemp("hugging_face")
    monkeypatch.setenv("HF_HUB_OFFLINE", "0")
    monkeypatch.setenv("HF_HOME", str(home))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(home / "hub"))
    monkeypatch.setattr("datasets.config.HF_HUB_OFFLINE", False)
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", home / "datasets")
    with HubServer(HUB_PORT) as server:
        yield server
    huggingface_hub.close_session()
    assert server.crashes == []


def save_tiny_checkpoint(architecture: str, folder: Path) -> None:
    """Save a model of about 10,000 parameters without dropout, and a tokenizer, to `folder`."""
    import torch
    from transformers import AutoConfig, AutoModel, AutoModelForCausalLM

    from hfpipe.models.tokenizers import train_tokenizer

    tokenizer = train_tokenizer([make_review(index)[0] for index in range(64)], 400, show_progress=False)
    if architecture in ENCODERS:
        tokenizer.add_special_tokens({"cls_token": "<|endoftext|>", "sep_token": "<|endoftext|>"})
    config = AutoConfig.for_model(
        architecture,
        **TINY[architecture],
        vocab_size=len(tokenizer),
        pad_token_id=tokenizer.pad_token_id,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
    )
    torch.manual_seed(0)
    family = AutoModel if architecture in ENCODERS else AutoModelForCausalLM
    family.from_config(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)


ENCODERS = ("bert", "distilbert", "modernbert", "deberta-v2")
TINY: Mapping[str, Mapping[str, Any]] = {
    "bert": {
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "max_position_embeddings": 64,
        "hidden_dropout_prob": 0.0,
        "attention_probs_dropout_prob": 0.0,
    },
    "distilbert": {
        "dim": 32,
        "hidden_dim": 64,
        "n_layers": 2,
        "n_heads": 2,
        "max_position_embeddings": 64,
        "dropout": 0.0,
        "attention_dropout": 0.0,
        "seq_classif_dropout": 0.0,
    },
    "modernbert": {
        "hidden_size": 32,
        "intermediate_size": 48,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "max_position_embeddings": 64,
    },
    "deberta-v2": {
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "max_position_embeddings": 64,
        "hidden_dropout_prob": 0.0,
        "attention_probs_dropout_prob": 0.0,
        "pooler_dropout": 0.0,
    },
    "gpt2": {
        "n_embd": 32,
        "n_layer": 2,
        "n_head": 2,
        "n_positions": 64,
        "resid_pdrop": 0.0,
        "embd_pdrop": 0.0,
        "attn_pdrop": 0.0,
    },
    "llama": {
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "max_position_embeddings": 64,
    },
}


def load_recipe(name: str) -> ModuleType:
    """Return the recipe module `recipes/<name>.py`, loaded by its path as a launcher would."""
    spec = importlib.util.spec_from_file_location(name, ROOT / "recipes" / f"{name}.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def to_argv(settings: Mapping[str, Any]) -> list[str]:
    """Return settings as a command line."""
    return [word for key, value in settings.items() for word in (f"--{key}", str(value))]


def run_recipe_here(recipe: str, settings: Mapping[str, Any]) -> RunConfig:
    """Run a recipe in this process and return its configuration; what it raises comes through."""
    config = load_config(to_argv(settings), recipe=recipe)
    load_recipe(recipe).run(config)
    return config
