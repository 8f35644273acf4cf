"""Which architectures there are, by task: those of transformers, and the models of old that hfpipe brings.

Importing `hfpipe.models` registers the latter, so that Auto classes and pipelines know them like any other.
"""

from collections.abc import Mapping

from transformers import (
    AutoConfig,
    AutoModel,
    AutoModelForCausalLM,
    AutoModelForSequenceClassification,
    PreTrainedConfig,
    PreTrainedModel,
)
from transformers.models.auto.modeling_auto import (
    MODEL_FOR_CAUSAL_LM_MAPPING_NAMES,
    MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING_NAMES,
)

from hfpipe.config.baseline_models import GRU, LSTM, TEXTCNN
from hfpipe.models.convolutional import TextCnnConfig, TextCnnForSequenceClassification, TextCnnModel
from hfpipe.models.recurrent import (
    GruConfig,
    GruForCausalLM,
    GruForSequenceClassification,
    GruModel,
    LstmConfig,
    LstmForCausalLM,
    LstmForSequenceClassification,
    LstmModel,
)

_Models = Mapping[type[PreTrainedConfig], type[PreTrainedModel]]

_CONFIGS: Mapping[str, type[PreTrainedConfig]] = {LSTM: LstmConfig, GRU: GruConfig, TEXTCNN: TextCnnConfig}
_BODIES: _Models = {LstmConfig: LstmModel, GruConfig: GruModel, TextCnnConfig: TextCnnModel}
_CLASSIFIERS: _Models = {
    LstmConfig: LstmForSequenceClassification,
    GruConfig: GruForSequenceClassification,
    TextCnnConfig: TextCnnForSequenceClassification,
}
_LANGUAGE_MODELS: _Models = {LstmConfig: LstmForCausalLM, GruConfig: GruForCausalLM}

Classes = Mapping[str, str | tuple[str, ...]]
"""Names of classes by model type."""

CLASSIFIER_CLASSES: Classes = {
    **MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING_NAMES,
    **{config.model_type: model.__name__ for config, model in _CLASSIFIERS.items()},
}
LANGUAGE_MODEL_CLASSES: Classes = {
    **MODEL_FOR_CAUSAL_LM_MAPPING_NAMES,
    **{config.model_type: model.__name__ for config, model in _LANGUAGE_MODELS.items()},
}


def register() -> None:
    """Make the Auto classes of transformers know the models of hfpipe; once more changes nothing."""
    for model_type, config in _CONFIGS.items():
        AutoConfig.register(model_type, config, exist_ok=True)
    families = ((AutoModel, _BODIES), (AutoModelForSequenceClassification, _CLASSIFIERS))
    for family, classes in (*families, (AutoModelForCausalLM, _LANGUAGE_MODELS)):
        for config, model in classes.items():
            family.register(config, model, exist_ok=True)


def class_names(classes: Classes) -> frozenset[str]:
    """Return the names of all classes, whatever their model type."""
    return frozenset(name for each in classes.values() for name in ((each,) if isinstance(each, str) else each))
