"""The metadata of a card: the YAML the Hub reads, with a `model-index` of the metrics of the weights beside it.

Nothing is guessed: what is not known (language, licence) is left out, and no path stands in for a name.
"""

import re
from collections.abc import Iterator
from typing import Any

from huggingface_hub import EvalResult, ModelCardData

from hfpipe.config.sections import MULTI_LABEL, REGRESSION
from hfpipe.hub.card_facts import PARTS, CardFacts

# the Hub's names of metrics; several of ours may be one of them, told apart by their name
_TYPES = {
    "mcc": "matthews_correlation",
    "subset_accuracy": "accuracy",
    "pearson": "pearsonr",
    "spearman": "spearmanr",
    "r2": "r_squared",
    "brier": "brier_score",
}
# loss, perplexity and bits per byte exist by source of a mixture as well
_FAMILIES = ("f1", "precision", "recall", "roc_auc", "average_precision", "loss", "perplexity", "bits_per_byte")
_TASKS = {"text-generation": "Text Generation", "text-classification": "Text Classification"}


def build_metadata(facts: CardFacts) -> ModelCardData:
    """Return the metadata of a card."""
    known: dict[str, Any] = {
        "library_name": "peft" if facts.is_adapter else "transformers",
        "pipeline_tag": facts.pipeline_tag,
        "tags": list(_tags(facts)),
        "datasets": list(facts.data_sets) or None,
        "metrics": sorted({metric_type(name) for name in facts.scores("eval")} - {"loss"}) or None,
    }
    if facts.base_model is not None:
        known |= {"base_model": facts.base_model, "base_model_relation": "adapter" if facts.is_adapter else "finetune"}
    results = list(_results(facts))
    if results:
        known |= {"model_name": facts.name, "eval_results": results}
    return ModelCardData(**known)


def metric_type(name: str) -> str:
    """Return the Hub's name of a metric."""
    family = next((family for family in _FAMILIES if name.startswith(family)), name)
    return _TYPES.get(name, family)


def _tags(facts: CardFacts) -> Iterator[str]:
    yield "hfpipe"
    yield facts.pipeline_tag
    shapes = {MULTI_LABEL: "multi-label-classification", REGRESSION: "text-scoring"}
    if facts.problem_type in shapes:
        yield shapes[facts.problem_type]
    if facts.settings.get("text_pair_column_name"):
        yield "sentence-pairs"
    if facts.settings.get("use_peft"):
        yield "lora"


def _find_split(facts: CardFacts, part: str) -> str:
    """Return the split of the data set that a part is, or of which it is held out; the part's name for own files.

    A score on rows held out of 'train' must not stand beside scores on the data set's own 'test'.
    """
    if not facts.data_sets:
        return part
    whole = re.fullmatch(r".+\[(.+)\]", str(facts.part(part).get("source", "")))
    return whole[1] if whole else f"{facts.settings.get('train_split_name', 'train')}, held out for {part}"


def _results(facts: CardFacts) -> Iterator[EvalResult]:
    for prefix, part in PARTS.items():
        for name, value in facts.scores(prefix).items():
            yield EvalResult(
                task_type=facts.pipeline_tag,
                task_name=_TASKS[facts.pipeline_tag],
                dataset_type=facts.data_sets[0] if facts.data_sets else "own-files",
                dataset_name=facts.data_name,
                dataset_split=_find_split(facts, part),
                metric_type=metric_type(name),
                metric_name=name,
                metric_value=value,
            )
