"""What settings must be given, and which contradict each other; every problem of a configuration, in one pass."""

from collections.abc import Iterator
from pathlib import Path

from hfpipe.config.baseline_models import OWN_CLASSIFIERS, OWN_LANGUAGE_MODELS, TEXTCNN
from hfpipe.config.baseline_rules import check_baselines
from hfpipe.config.batch_size import check_batch_size
from hfpipe.config.cleaning import check_cleaning, find_cleaning_warnings
from hfpipe.config.effects import find_idle_settings
from hfpipe.config.hub_rules import check_hub
from hfpipe.config.installed import find_package
from hfpipe.config.mixture import check_mixture
from hfpipe.config.optimizers import check_optimizer
from hfpipe.config.plan import LOWER_IS_BETTER, find_metrics
from hfpipe.config.remote_code import check_remote_code
from hfpipe.config.schedules import METRIC_SCHEDULES, check_schedule
from hfpipe.config.sections import FINETUNE, MULTI_LABEL, PRETRAIN, REGRESSION
from hfpipe.config.settled import Settled
from hfpipe.config.streaming import check_streaming
from hfpipe.config.threshold_aims import check_thresholds
from hfpipe.errors import Problem

# one thing: the second name is that of transformers 5.23
_CHECKPOINTING = ("gradient_checkpointing", "activation_checkpointing")
_DATASETS = ("demo:imdb",)
_DEMO_MODELS = ("demo:minilm",)
# Reporters whose package has another name, or more than one, are left to transformers.
_REPORTER_PACKAGES = ("tensorboard", "wandb", "trackio", "mlflow", "comet_ml", "clearml", "codecarbon", "dvclive")


def find_conflicts(settled: Settled) -> list[Problem]:
    """Return the problems between settings that are each right by themselves."""
    return [
        *_check_sources(settled),
        *_check_model(settled),
        *_check_best_model(settled),
        *_check_metric(settled),
        *_check_evaluation(settled),
        *_check_precision(settled),
        *_check_class_weights(settled),
        *_check_problem(settled),
        *_check_windows(settled),
        *check_batch_size(settled),
        *_check_reporters(settled),
        *check_cleaning(settled),
        *check_baselines(settled),
        *check_thresholds(settled),
        *check_streaming(settled),
        *check_mixture(settled),
        *check_hub(settled),
        *check_remote_code(settled),
        *check_optimizer(settled),
        *check_schedule(settled),
        *find_idle_settings(settled),
    ]


def find_warnings(settled: Settled) -> list[str]:
    """Return a line for each combination that is allowed and rarely meant."""
    warnings = list(find_cleaning_warnings(settled))
    if settled.has("class_weights") and settled.get("label_smoothing_factor"):
        warnings.append(
            "class_weights beside label_smoothing_factor: the probabilities of the model will be distorted "
            "(pytorch issue 104776); drop one of them if you need probabilities"
        )
    return warnings


def _by_strength(settled: Settled, first: str, second: str) -> tuple[str, str]:
    """Return two keys in conflict, the one whose source is the stronger first."""
    return (second, first) if settled.origin(second).outranks(settled.origin(first)) else (first, second)


def _check_sources(settled: Settled) -> Iterator[Problem]:
    name = settled.get("dataset_name")
    if str(name).startswith("demo:") and name not in _DATASETS:
        yield settled.problem("dataset_name", "no such demo data set", f"the one there is: {_DATASETS[0]}")
    elif name is not None and Path(str(name)).expanduser().exists():
        what = "a folder" if Path(str(name)).expanduser().is_dir() else "a file"
        rule = f"is {what} here, and names data sets of the Hub"
        yield settled.problem("dataset_name", rule, "write train_file in place of dataset_name")
    if name is not None and settled.has("train_file"):
        kept, other = _by_strength(settled, "dataset_name", "train_file")
        yield settled.problem(kept, f"given beside {other} ({settled.origin(other)})", f"set {other} to null")
    if name is None and not settled.has("train_file") and not settled.has("dataset_mixture"):
        yield Problem("train_file", "", "no training data is given", "set train_file, or dataset_name: demo:imdb")


def _check_model(settled: Settled) -> Iterator[Problem]:
    name = settled.get("model_name_or_path")
    if name is None and settled.recipe == FINETUNE and not settled.is_given("model_type"):
        remedy = "set it to a folder, a name on the Hub, or demo:minilm; for a new model set model_type"
        yield Problem("model_name_or_path", "", "no model to fine-tune is given", remedy)
    if name is None and settled.recipe == PRETRAIN and settled.get("model_type") == TEXTCNN:
        rule = "judges texts and continues none"
        yield settled.problem("model_type", rule, f"use {' or '.join(OWN_LANGUAGE_MODELS)}, or one of transformers")
    for key in _CHECKPOINTING:
        if name is None and settled.get("model_type") in OWN_CLASSIFIERS and settled.get(key):
            rule = f"{settled.get('model_type')} has little to leave out of memory, and does not know it"
            yield settled.problem(key, rule, "remove it")
    if name is None and settled.get("use_peft"):
        rule = "an adapter changes a model that is there, and none is named"
        yield settled.problem("use_peft", rule, "set model_name_or_path, or train all weights")
    if settled.get("use_peft") and find_package("peft") is None:
        yield settled.problem("use_peft", "peft is not installed", "pip install 'hfpipe[peft]'")
    for key in ("model_name_or_path", "tokenizer_name"):
        value = settled.get(key)
        if isinstance(value, str) and value.startswith("demo:") and value not in _DEMO_MODELS:
            yield settled.problem(key, "no such demo model", f"the one there is: {_DEMO_MODELS[0]}")


def _check_best_model(settled: Settled) -> Iterator[Problem]:
    if not settled.get("load_best_model_at_end"):
        return
    evaluates, saves = settled.get("eval_strategy"), settled.get("save_strategy")
    for key, strategy in (("eval_strategy", evaluates), ("save_strategy", saves)):
        if strategy == "no":
            remedy = f"write {key}: epoch, or load_best_model_at_end: false"
            yield settled.problem("load_best_model_at_end", f"needs {key} other than 'no'", remedy)
    if "no" in (evaluates, saves):
        return
    if evaluates != saves:
        yield settled.problem(
            "save_strategy",
            f"must be eval_strategy ({evaluates}), so that the best model is among the checkpoints",
            f"write save_strategy: {evaluates}, or load_best_model_at_end: false",
        )
    elif evaluates == "steps":
        yield from _check_save_steps(settled)


def _check_save_steps(settled: Settled) -> Iterator[Problem]:
    every, saved = settled.get("eval_steps"), settled.get("save_steps")
    if isinstance(every, int) and isinstance(saved, int) and every % saved:
        yield settled.problem(
            "eval_steps" if settled.is_given("eval_steps") else "save_steps",
            f"eval_steps ({every:,}) must be a multiple of save_steps ({saved:,}), so that every scored model is saved",
            f"write save_steps: {every}, or load_best_model_at_end: false",
        )


def _check_metric(settled: Settled) -> Iterator[Problem]:
    metric, known = settled.get("metric_for_best_model"), find_metrics(settled)
    if metric not in known:
        rule = (
            f"no such metric of {settled.get('problem_type')}" if settled.is_given("problem_type") else "no such metric"
        )
        yield settled.problem("metric_for_best_model", rule, f"use one of {', '.join(known)}")
    elif settled.is_given("greater_is_better") and settled.get("greater_is_better") == (metric in LOWER_IS_BETTER):
        direction = "lower" if metric in LOWER_IS_BETTER else "greater"
        yield settled.problem("greater_is_better", f"{metric} is better when {direction}", "leave it out")


def _check_evaluation(settled: Settled) -> Iterator[Problem]:
    if settled.get("eval_strategy") != "no":
        yield from _check_delay(settled)
        return
    if settled.has("early_stopping_patience"):
        yield settled.problem("early_stopping_patience", "needs evaluations", "write eval_strategy: steps or epoch")
    if settled.get("lr_scheduler_type") in METRIC_SCHEDULES:
        yield settled.problem("lr_scheduler_type", "needs evaluations", "write eval_strategy: steps or epoch")


def _check_delay(settled: Settled) -> Iterator[Problem]:
    """A delay that ends with the run leaves the evaluation at its end; one that ends later leaves none."""
    steps, epochs = settled.get("max_steps"), settled.get("num_train_epochs")
    by_steps, is_limited = settled.get("eval_strategy") == "steps", steps not in (None, -1)
    if by_steps != is_limited:
        # How many steps an epoch has is known when the data are.
        return
    key, length = ("max_steps", steps) if by_steps else ("num_train_epochs", epochs)
    delay = settled.get("eval_delay")
    if isinstance(delay, int | float) and isinstance(length, int | float) and delay > length:
        rule = f"is beyond {key} ({length:,}), so that nothing would be evaluated"
        yield settled.problem("eval_delay", rule, "lower it, or write eval_strategy: no")


def _check_precision(settled: Settled) -> Iterator[Problem]:
    if settled.get("bf16") and settled.get("fp16"):
        kept, other = _by_strength(settled, "bf16", "fp16")
        yield settled.problem(kept, f"given beside {other} ({settled.origin(other)})", "keep one of them")


def _check_class_weights(settled: Settled) -> Iterator[Problem]:
    weights = settled.get("class_weights")
    if isinstance(weights, str) and weights != "balanced":
        yield settled.problem(
            "class_weights", "must be 'balanced' or a mapping", "write class_weights: {label: weight, ...}"
        )
    if isinstance(weights, dict) and any(weight <= 0 for weight in weights.values()):
        yield settled.problem("class_weights", "weights must be above 0", "leave labels out of the data to ignore them")


def _check_problem(settled: Settled) -> Iterator[Problem]:
    """Find what a number to predict cannot have, and a delimiter where a row has one label."""
    problem = settled.get("problem_type")
    if settled.has("label_delimiter") and problem != MULTI_LABEL:
        rule = f"has no effect: under problem_type {problem} a row has one label"
        yield settled.problem("label_delimiter", rule, f"write problem_type: {MULTI_LABEL}, or remove it")
    for key in ("label_names", "class_weights", "label_smoothing_factor"):
        if problem == REGRESSION and settled.is_given(key):
            yield settled.problem(key, "has no effect on a number to predict (problem_type: regression)", "remove it")


def _check_windows(settled: Settled) -> Iterator[Problem]:
    long_texts = settled.get("long_texts")
    if settled.has("text_pair_column_name") and long_texts != "head":
        rule = f"{long_texts} is for single texts; of a pair the longer text gives way at its end"
        yield settled.problem("long_texts", rule, "write long_texts: head, or remove text_pair_column_name")
    stride, length = settled.get("doc_stride"), settled.get("max_seq_length")
    if settled.recipe != FINETUNE or settled.get("long_texts") != "windows":
        return
    # half a window at least must be new, or a text of n tokens becomes many times n
    if isinstance(stride, int) and isinstance(length, int) and stride * 2 > length:
        rule = f"over half of max_seq_length ({length:,}), so that windows would hold little that is new"
        yield settled.problem("doc_stride", rule, f"write at most {length // 2:,}")


def _check_reporters(settled: Settled) -> Iterator[Problem]:
    reporters = settled.get("report_to")
    for name in reporters if isinstance(reporters, list | tuple) else ():
        if name in _REPORTER_PACKAGES and find_package(name) is None:
            remedy = "pip install 'hfpipe[tensorboard]'" if name == "tensorboard" else f"pip install {name}"
            yield settled.problem("report_to", f"{name} is not installed", remedy)
