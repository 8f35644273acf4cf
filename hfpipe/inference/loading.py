"""Models of finished runs, ready for use: weights, tokenizer, label names and the length texts are cut to.

Takes a run directory, one of its checkpoints, or any folder in the layout of `from_pretrained`. Refuses a run
that is not done, a model of the wrong kind, one whose head is missing from the weights, and weights in pickle.
The decision worth knowing: classifiers run in float32 whatever they were saved in, because only there a row's
probabilities do not depend on the rows beside it to more than 1e-5.
"""

from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from safetensors import SafetensorError
from transformers import (
    AutoModelForCausalLM,
    AutoModelForSequenceClassification,
    AutoTokenizer,
    PreTrainedConfig,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)
from transformers.models.auto.modeling_auto import (
    MODEL_FOR_CAUSAL_LM_MAPPING_NAMES,
    MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING_NAMES,
)
from transformers.utils import logging

from hfpipe.errors import CheckpointError, Problem
from hfpipe.models.limits import find_length_limit, find_vocabulary_size
from hfpipe.models.tokenizers import is_blank
from hfpipe.records.run_directory import CHECKPOINTS, RUN_FILE, list_checkpoints, read_json
from hfpipe.records.sessions import saved_settings

CONFIG_FILE = "config.json"
WEIGHTS_FILE = "model.safetensors"
INDEX_FILE = "model.safetensors.index.json"

Kind = Literal["classifier", "generator"]


@dataclass(frozen=True)
class LoadedClassifier:
    """A classifier in evaluation mode on the device it will run on.

    `max_length` is in tokens, special ones included. `columns` is what `run.json` recorded of the
    training data's columns, empty for a folder without one.
    """

    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase
    label_names: tuple[str, ...]
    max_length: int
    columns: Mapping[str, Any]


@dataclass(frozen=True)
class LoadedGenerator:
    """A causal language model in evaluation mode on the device it will run on."""

    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase


def load_classifier(run_dir: Path, *, must_be_done: bool = True) -> LoadedClassifier:
    """Return the classifier in `run_dir`, on the GPU where there is one.

    Args:
        run_dir: A run directory, a checkpoint of one, or a folder in the layout of `from_pretrained`.
        must_be_done: Refuse a run that does not say `done`; False is for the run itself, before it says so.

    Raises:
        CheckpointError: If there is no such classifier, its run is not done, or its files cannot be trusted.
    """
    run = _open_folder(run_dir, "classifier", must_be_done)
    model = _load_model(AutoModelForSequenceClassification, run_dir, torch.float32)
    tokenizer = _load_tokenizer(run_dir, model.config)
    trained_length = saved_settings(run).get("max_seq_length") if "config" in run else None
    return LoadedClassifier(
        model=model,
        tokenizer=tokenizer,
        label_names=_label_names(model.config),
        max_length=find_length_limit(model.config, tokenizer) if trained_length is None else int(str(trained_length)),
        columns=run.get("data", {}).get("columns", {}),
    )


def load_generator(run_dir: Path, *, must_be_done: bool = True) -> LoadedGenerator:
    """Return the causal language model in `run_dir`, in the type it was saved in, on the GPU where there is one.

    Raises:
        CheckpointError: As `load_classifier`.
    """
    _open_folder(run_dir, "generator", must_be_done)
    model = _load_model(AutoModelForCausalLM, run_dir, "auto")
    return LoadedGenerator(model, _load_tokenizer(run_dir, model.config))


def _open_folder(folder: Path, kind: Kind, must_be_done: bool) -> Mapping[str, Any]:
    """Return the run's record, empty where there is none, once nothing speaks against loading `folder`."""
    if not folder.is_dir():
        raise CheckpointError(Problem(str(folder), rule="there is no such folder", remedy="name a run directory"))
    run = _read_run_of(folder)
    if must_be_done and (folder / RUN_FILE).is_file():
        _check_done(folder, str(run.get("status")))
    if not (folder / CONFIG_FILE).is_file():
        rule = f"is not a run directory: it holds neither {RUN_FILE} nor {CONFIG_FILE}"
        if run:
            rule = f"holds no {CONFIG_FILE}, so no model was saved here"
        raise CheckpointError(Problem(str(folder), rule=rule, remedy="name the output_dir of a finished run"))
    _check_kind(folder, read_json(folder / CONFIG_FILE), kind)
    _check_weights(folder)
    return run


def _read_run_of(folder: Path) -> Mapping[str, Any]:
    """Return the record of the run that `folder` is, or is a checkpoint of; empty where there is none."""
    owner = folder.resolve()
    if not (owner / RUN_FILE).is_file() and owner.parent.name == CHECKPOINTS:
        owner = owner.parent.parent
    return read_json(owner / RUN_FILE) if (owner / RUN_FILE).is_file() else {}


def _check_done(folder: Path, status: str) -> None:
    if status == "done":
        return
    newest = find_newest_checkpoint(folder)
    remedy = "let it finish by the command that started it"
    if newest is not None:
        remedy += f", or use its newest checkpoint: {newest}"
    raise CheckpointError(Problem(str(folder), rule=f"the run is not done, its status is '{status}'", remedy=remedy))


def find_newest_checkpoint(run_dir: Path) -> Path | None:
    """Return the checkpoint of the highest step that holds a model, None where there is none."""
    found = list_checkpoints(run_dir / CHECKPOINTS, holding=CONFIG_FILE)
    return found[-1][1] if found else None


def _check_kind(folder: Path, config: Mapping[str, Any], kind: Kind) -> None:
    found = (config.get("architectures") or ["a model without a head"])[0]
    place = str(folder / CONFIG_FILE)
    if kind == "generator" and found not in _classes(MODEL_FOR_CAUSAL_LM_MAPPING_NAMES):
        remedy = "name a pretraining run; for a classifier use predict"
        raise CheckpointError(Problem(place, str(found), "is not a causal language model", remedy))
    if kind == "classifier" and found not in _classes(MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING_NAMES):
        remedy = "name a fine-tuning run; for a causal language model use generate"
        raise CheckpointError(Problem(place, str(found), "is not a text classifier", remedy))
    if kind == "classifier":
        _check_single_label(place, config)


def _classes(names: Mapping[str, str | tuple[str, ...]]) -> Collection[str]:
    return {each for name in names.values() for each in ((name,) if isinstance(name, str) else name)}


def _check_single_label(place: str, config: Mapping[str, Any]) -> None:
    problem_type = config.get("problem_type")
    if problem_type not in (None, "single_label_classification"):
        rule = "only classifiers of one label a text have probabilities that sum to 1"
        raise CheckpointError(Problem(place, f"problem_type '{problem_type}'", rule, "use another model"))
    if len(config.get("id2label", {"0": "", "1": ""})) < 2:
        raise CheckpointError(Problem(place, "1 label", "a classifier has at least 2", "use another model"))


def _check_weights(folder: Path) -> None:
    if (folder / INDEX_FILE).is_file():
        _check_index(folder / INDEX_FILE)
    elif not (folder / WEIGHTS_FILE).is_file():
        pickled = sorted(path.name for path in folder.glob("*.bin"))
        if not pickled:
            rule = f"holds no {WEIGHTS_FILE}"
            raise CheckpointError(Problem(str(folder), rule=rule, remedy="name a folder that holds weights"))
        rule = "the weights are a pickle file, and reading one can run any code it carries"
        remedy = f"save the model as {WEIGHTS_FILE} where you trust it"
        raise CheckpointError(Problem(str(folder / pickled[0]), rule=rule, remedy=remedy))


def _check_index(path: Path) -> None:
    files = set(read_json(path).get("weight_map", {}).values())
    outside = sorted(name for name in files if Path(name).name != name)
    if outside:
        rule = "names weights outside its own folder"  # transformers would load them without a word
        raise CheckpointError(Problem(str(path), outside[0], rule, "get the checkpoint from its source again"))


def _label_names(config: PreTrainedConfig) -> tuple[str, ...]:
    labels: Any = config.id2label  # transformers makes the keys integers when it reads the file
    return tuple(labels[label_id] for label_id in range(len(labels)))


@contextmanager
def _without_bar() -> Iterator[None]:
    """Keep transformers from drawing a bar for weights that load in a moment."""
    was_drawn = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        if was_drawn:
            logging.enable_progress_bar()


def _load_model(family: Any, folder: Path, dtype: torch.dtype | str) -> PreTrainedModel:
    try:
        with _without_bar():
            model, info = family.from_pretrained(
                folder, dtype=dtype, local_files_only=True, use_safetensors=True, output_loading_info=True
            )
    except (OSError, ValueError, RuntimeError, SafetensorError) as error:
        rule = f"cannot be loaded ({_first_line(error)})"
        raise CheckpointError(Problem(str(folder), rule=rule, remedy="get or train it again")) from error
    if info["missing_keys"]:
        name = min(info["missing_keys"])
        rule = f"the weights lack {len(info['missing_keys']):,} of the model's parameters, {name} among them"
        remedy = "the answers would be random; name a folder whose model was saved whole"
        raise CheckpointError(Problem(str(folder), rule=rule, remedy=remedy))
    return model.to("cuda" if torch.cuda.is_available() else "cpu").eval()


def _load_tokenizer(folder: Path, config: PreTrainedConfig) -> PreTrainedTokenizerBase:
    remedy = "save the model's tokenizer beside it"
    try:
        tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
    except (OSError, ValueError) as error:
        rule = f"its tokenizer cannot be loaded ({_first_line(error)})"
        raise CheckpointError(Problem(str(folder), rule=rule, remedy=remedy)) from error
    if is_blank(tokenizer):
        raise CheckpointError(Problem(str(folder), rule="holds no tokenizer", remedy=remedy))
    rows = find_vocabulary_size(config)
    if rows is not None and len(tokenizer) > rows:
        rule = f"its tokenizer has {len(tokenizer):,} tokens, more than the {rows:,} the model knows"
        raise CheckpointError(Problem(str(folder), rule=rule, remedy=remedy))
    return tokenizer


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]
