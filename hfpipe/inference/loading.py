"""Models of finished runs, ready for use: weights, tokenizer, label names and the length texts are cut to.

Takes a run directory, one of its checkpoints, or any folder in the layout of `from_pretrained`. Refuses a run
that is not done, a model of the wrong kind, one whose head is missing from the weights, and weights in pickle.
The decision worth knowing: classifiers run in float32 whatever they were saved in, because only there a row's
probabilities do not depend on the rows beside it to more than 1e-5.
"""

from collections.abc import Collection, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import torch
from transformers import (
    AutoModelForCausalLM,
    AutoModelForSequenceClassification,
    PreTrainedConfig,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)

from hfpipe.config.model_settings import OWN_ATTENTION
from hfpipe.config.sections import MULTI_LABEL, REGRESSION, SINGLE_LABEL
from hfpipe.data.cleaning_steps import STEPS
from hfpipe.data.tokens import LengthRule
from hfpipe.errors import CheckpointError, Problem
from hfpipe.inference.predict import Treatment, find_problem_type
from hfpipe.models.adapters import ADAPTER_CONFIG
from hfpipe.models.allocator import keep_freed_memory, limit_kernels
from hfpipe.models.architectures import CLASSIFIER_CLASSES, LANGUAGE_MODEL_CLASSES, class_names
from hfpipe.models.attention import supports
from hfpipe.models.bars import without_weight_bars
from hfpipe.models.checkpoint_files import find_weights_problem
from hfpipe.models.foreign_files import CONFIG_FILE, find_problems
from hfpipe.models.layer_stacks import Unsuited
from hfpipe.models.limits import find_length_limit, find_vocabulary_size
from hfpipe.models.pooled_layer import pool_last_layer
from hfpipe.models.sources import UNUSABLE
from hfpipe.models.tokenizers import is_blank, read_tokenizer
from hfpipe.records.inference_settings import INFERENCE_FILE, InferenceSettings, read_inference_settings
from hfpipe.records.run_directory import CHECKPOINTS, RUN_FILE, list_checkpoints, read_json

Kind = Literal["classifier", "generator"]


@dataclass(frozen=True)
class LoadedClassifier:
    """A classifier in evaluation mode on the device it will run on.

    `settings` say how the texts of its training were found and cut, and their `max_seq_length` is never None.
    `trained_in` is the precision of the run, which has scored its own parts in it; None where there is no record.
    """

    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase
    label_names: tuple[str, ...]
    settings: InferenceSettings
    trained_in: str | None = None

    @property
    def problem_type(self) -> str:
        """What its labels are: one of them a text, any number of them, or a number."""
        return find_problem_type(self.model.config)

    @property
    def treatment(self) -> Treatment:
        """How texts become its scores."""
        told = self.settings
        rule = LengthRule(told.max_seq_length, told.long_texts, told.doc_stride, told.max_windows)
        return Treatment(rule, told.window_pooling, told.temperature)


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
    _open_folder(run_dir, "classifier", must_be_done)
    model = _load_model(AutoModelForSequenceClassification, run_dir, torch.float32)
    if model.device.type == "cpu":
        keep_freed_memory()
        limit_kernels()
        if supports(model):
            model.set_attn_implementation(OWN_ATTENTION)
    with suppress(Unsuited):  # the scores are the same, later
        pool_last_layer(model)
    tokenizer = _load_tokenizer(run_dir, model.config)
    settings = _read_settings(run_dir, _label_names(model.config))
    if settings.max_seq_length is None:
        settings = replace(settings, max_seq_length=find_length_limit(model.config, tokenizer))
    precision = _read_run_of(run_dir).get("precision")
    trained_in = "float32" if precision == "no" else precision
    return LoadedClassifier(model, tokenizer, _label_names(model.config), settings, trained_in)


def _read_settings(folder: Path, label_names: Collection[str]) -> InferenceSettings:
    """Return how texts are treated; temperature and thresholds are those of the finished model, not of checkpoints."""
    owner = _owner_of(folder)
    settings = read_inference_settings(owner)
    _check_cleaning(settings, owner)
    if owner != folder.resolve():
        return replace(settings, temperature=1.0, thresholds={})
    unknown = [name for name in settings.thresholds if name not in label_names]
    if unknown:
        rule = f"no label of the model, whose labels are {', '.join(label_names)}"
        place = f"{folder / INFERENCE_FILE}: thresholds"
        raise CheckpointError([Problem(place, repr(name), rule, "put the file back as it was") for name in unknown])
    return settings


def _check_cleaning(settings: InferenceSettings, owner: Path) -> None:
    place, rule = f"{owner / INFERENCE_FILE}: cleaning_steps", "no step that this version knows"
    strange = [step for step in settings.cleaning_steps if step not in STEPS]
    if strange:
        raise CheckpointError([Problem(place, repr(step), rule, "use the version that wrote it") for step in strange])


def load_generator(run_dir: Path, *, must_be_done: bool = True) -> LoadedGenerator:
    """Return the causal language model in `run_dir`, in the type it was saved in, on the GPU where there is one.

    Raises:
        CheckpointError: As `load_classifier`.
    """
    _open_folder(run_dir, "generator", must_be_done)
    model = _load_model(AutoModelForCausalLM, run_dir, "auto")
    return LoadedGenerator(model, _load_tokenizer(run_dir, model.config))


def _open_folder(folder: Path, kind: Kind, must_be_done: bool) -> None:
    """Return once nothing speaks against loading `folder`."""
    if not folder.is_dir():
        raise CheckpointError(Problem(str(folder), rule="there is no such folder", remedy="name a run directory"))
    run = _read_run_of(folder)
    if must_be_done and (folder / RUN_FILE).is_file():
        _check_done(folder, str(run.get("status")))
    if not (folder / CONFIG_FILE).is_file():
        rule = f"is not a run directory: it holds neither {RUN_FILE} nor {CONFIG_FILE}"
        if run:
            rule = f"holds no {CONFIG_FILE}, so no model was saved here"
        if (folder / ADAPTER_CONFIG).is_file():
            rule = "holds an adapter without the model it changes; a finished run has them merged at its top"
        raise CheckpointError(Problem(str(folder), rule=rule, remedy="name the output_dir of a finished run"))
    _check_weights(folder)
    _check_kind(folder, read_json(folder / CONFIG_FILE), kind)


def _read_run_of(folder: Path) -> Mapping[str, Any]:
    """Return the record of the run that `folder` is, or is a checkpoint of; empty where there is none."""
    owner = _owner_of(folder)
    return read_json(owner / RUN_FILE) if (owner / RUN_FILE).is_file() else {}


def _owner_of(folder: Path) -> Path:
    """Return the run directory that `folder` is, or is a checkpoint of; itself where it is neither."""
    owner = folder.resolve()
    is_checkpoint = not (owner / RUN_FILE).is_file() and owner.parent.name == CHECKPOINTS
    return owner.parent.parent if is_checkpoint else owner


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
    if kind == "generator" and found not in class_names(LANGUAGE_MODEL_CLASSES):
        remedy = "name a pretraining run; for a classifier use predict"
        raise CheckpointError(Problem(place, str(found), "is not a causal language model", remedy))
    if kind == "classifier" and found not in class_names(CLASSIFIER_CLASSES):
        remedy = "name a fine-tuning run; for a causal language model use generate"
        raise CheckpointError(Problem(place, str(found), "is not a text classifier", remedy))
    if kind == "classifier":
        _check_problem_type(place, config)


def _check_problem_type(place: str, config: Mapping[str, Any]) -> None:
    problem_type, label_count = config.get("problem_type"), len(config.get("id2label", {"0": "", "1": ""}))
    known = (SINGLE_LABEL, MULTI_LABEL, REGRESSION)
    if problem_type is not None and problem_type not in known:
        rule = f"must be one of {', '.join(known)}"
        raise CheckpointError(Problem(place, f"problem_type '{problem_type}'", rule, "use another model"))
    if problem_type == REGRESSION and label_count > 1:
        rule = "a model that predicts several numbers at once is not supported"
        raise CheckpointError(Problem(place, f"{label_count:,} labels", rule, "use another model"))


def _check_weights(folder: Path) -> None:
    problem = find_weights_problem(folder)
    problems = [*find_problems(folder), *([] if problem is None else [problem])]
    if problems:
        raise CheckpointError(problems)


def _label_names(config: PreTrainedConfig) -> tuple[str, ...]:
    labels: Any = config.id2label  # transformers makes the keys integers when it reads the file
    return tuple(labels[label_id] for label_id in range(len(labels)))


def _load_model(family: Any, folder: Path, dtype: torch.dtype | str) -> PreTrainedModel:
    try:
        with without_weight_bars():
            model, info = family.from_pretrained(
                folder,
                dtype=dtype,
                local_files_only=True,
                use_safetensors=True,
                trust_remote_code=False,  # unsaid, transformers would ask at the terminal
                output_loading_info=True,
            )
    except UNUSABLE as error:
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
        tokenizer = read_tokenizer(folder)
    except UNUSABLE as error:
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
