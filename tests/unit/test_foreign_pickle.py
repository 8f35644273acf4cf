"""Pickle that came from anybody, and code that a checkpoint brings along: refused at every entrance, never run."""

import pickle
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hostile_files import PICKLE_RULE, Bomb, change, load_all, refusal
from pickle_watch import watching

from hfpipe.config import ModelSettings, load_config
from hfpipe.data.findings import Findings
from hfpipe.data.sources import find_files
from hfpipe.errors import CheckpointError, ConfigError, DataError
from hfpipe.inference.loading import load_generator
from hfpipe.inference.tables import survey_table
from hfpipe.models.foreign_files import find_problems
from hfpipe.models.tokenizers import load_tokenizer

PICKLED_NAMES = ("x.bin", "x.pt", "x.pth", "x.ckpt", "x.pkl", "x.pickle", "x.npy", "x.npz", "x.joblib")
CODE = "owner/other--modeling.Model"


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Names are read from the working directory too."""
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")


@pytest.fixture
def folder(checkpoints: Callable[[str], Path], tmp_path: Path) -> Path:
    """Return a checkpoint of this test's own, with a secret file beside it."""
    (tmp_path / "secret.txt").write_text("[PAD]\nprivate")
    return Path(shutil.copytree(checkpoints("gpt2"), tmp_path / "model"))


def test_pickle_is_refused_as_a_model(folder: Path, tmp_path: Path) -> None:
    for name in PICKLED_NAMES:
        path = tmp_path / name
        path.write_bytes(pickle.dumps(Bomb()))
        for key in ("model_name_or_path", "tokenizer_name"):
            settings = ModelSettings(**{"model_name_or_path": "./any", key: str(path)})
            load = load_tokenizer if key == "tokenizer_name" else load_all_of
            remedy = "convert it to safetensors where you trust it, and give the folder"
            assert (
                refusal(lambda load=load, settings=settings: load(settings))
                == f"{key}: {path}: {PICKLE_RULE}; {remedy}"
            )
    (folder / "model.safetensors").unlink()
    (folder / "pytorch_model.bin").write_bytes(pickle.dumps(Bomb()))
    rest = f"{folder}/pytorch_model.bin: the weights are a pickle file, and reading one can run any code it carries; "
    assert (
        refusal(lambda: load_all(folder))
        == f"model_name_or_path: {rest}save the model as model.safetensors where you trust it"
    )
    (folder / "tokenizer.json").unlink()
    (folder / "tokenizer.pkl").write_bytes(pickle.dumps(Bomb()))
    found = refusal(lambda: load_tokenizer(ModelSettings(model_name_or_path=str(folder))))
    remedy = "save the model's tokenizer beside it, or name one by tokenizer_name"
    assert found == f"model_name_or_path: {folder}/tokenizer.pkl: {PICKLE_RULE}; {remedy}"


def load_all_of(settings: ModelSettings) -> None:
    load_all(Path(str(settings.model_name_or_path)))


@pytest.mark.parametrize("name", [*PICKLED_NAMES, "x.pkl.gz", "X.PT"])
def test_pickle_is_refused_as_data(name: str, tmp_path: Path) -> None:
    path = tmp_path / name
    np.save(tmp_path / "array.npy", np.array([Bomb()], dtype=object), allow_pickle=True)
    shutil.copy(tmp_path / "array.npy", path) if name.endswith(".npy") else path.write_bytes(pickle.dumps(Bomb()))
    kind = f"suffix '{Path(name.removesuffix('.gz')).suffix.lower()}'" + (" before .gz" if name.endswith(".gz") else "")
    expected = f"{path}: {kind}: {PICKLE_RULE}; convert it to CSV, JSON lines or Parquet where you trust it"
    assert refusal(lambda: survey_table(path)) == expected
    findings = Findings()
    for key in ("train_file", "validation_file", "test_file"):
        findings = Findings()
        assert list(find_files([str(path)], findings, key=key)) == []
        with pytest.raises(DataError) as caught:
            findings.raise_if_any()
        assert expected in str(caught.value)


@pytest.mark.parametrize("suffix", [".csv", ".tsv", ".json", ".jsonl", ".parquet", ".arrow", ".txt", ".csv.gz"])
def test_pickle_under_another_name_is_no_data(suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"x{suffix}"
    path.write_bytes(pickle.dumps(Bomb()))
    with watching() as seen, pytest.raises(DataError):
        survey_table(path)
    assert seen == []
    assert not Path("unpickled").exists()


COMMIT = "a" * 40
FROM_HUB = {"train_file": "x.csv", "model_name_or_path": "owner/model", "trust_remote_code": "true"}


def problems_of(**settings: str) -> list[str]:
    words = [word for key, value in settings.items() for word in (f"--{key}", value)]
    with pytest.raises(ConfigError) as caught:
        load_config(words, recipe="finetune_classifier")
    return [str(problem) for problem in caught.value.problems]


@pytest.mark.parametrize("revision", ["main", "v1.0", "a" * 39, "A" * 40, "a" * 41, "g" * 40])
def test_code_of_the_hub_is_pinned(revision: str) -> None:
    rule = "trust_remote_code runs the code of owner/model, and this revision may stand for other code tomorrow"
    remedy = "set it to the commit whose code you have read, all 40 digits of it"
    assert problems_of(**FROM_HUB, model_revision=revision) == [f"--model_revision {revision}: {rule}; {remedy}"]


def test_code_of_a_tokenizer_is_pinned_too(tmp_path: Path) -> None:
    pinned = {**FROM_HUB, "model_revision": COMMIT, "tokenizer_name": "owner/tokenizer"}
    (found,) = problems_of(**pinned)
    assert found.startswith("tokenizer_revision: main: trust_remote_code runs the code of owner/tokenizer, ")
    for allowed in ({**pinned, "tokenizer_revision": COMMIT}, {**pinned, "tokenizer_name": str(tmp_path)}):
        words = [word for key, value in allowed.items() for word in (f"--{key}", value)]
        assert load_config(words, recipe="finetune_classifier").model.trust_remote_code


def test_code_of_a_third_repository_is_never_run(folder: Path) -> None:
    place = folder / "config.json"
    for value in ({"AutoModelForCausalLM": CODE}, {"AutoTokenizer": [CODE, None]}):
        change(place, auto_map=value)
        expected = (
            f"model_name_or_path: {place}: auto_map: {CODE}: names code of another repository, which no revision pins; "
        )
        assert refusal(lambda: load_all(folder, trust_remote_code=True)).startswith(expected)
    assert find_problems(folder) == []  # code that is not asked for is not run


def test_code_that_nobody_asked_for_is_not_run(folder: Path) -> None:
    """transformers would ask at the terminal where the choice is left open."""
    (folder / "modeling_own.py").write_text("import os\nos.mkdir('unpickled')\n")
    change(folder / "config.json", model_type="own", auto_map={"AutoConfig": "modeling_own.Config"})
    rest = "cannot be loaded; it brings code of its own; read that, and set trust_remote_code: true"
    assert refusal(lambda: load_all(folder)) == f"model_name_or_path: {folder}: {rest}"
    with pytest.raises(CheckpointError):
        load_generator(folder)
    assert not Path("unpickled").exists()
