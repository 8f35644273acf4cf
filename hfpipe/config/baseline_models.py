"""The models of old by name, and the settings each is trained well with; no torch, so that a mistake answers at once.

They are ordinary models of `model_type`, trained from scratch by the ordinary recipes. What is written here is what
makes a baseline that deserves the name; everything else (data, seed, evaluation) is that of the run it stands beside.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

LSTM, GRU, TEXTCNN = "hfpipe_lstm", "hfpipe_gru", "hfpipe_textcnn"
OWN_CLASSIFIERS = (LSTM, GRU, TEXTCNN)
OWN_LANGUAGE_MODELS = (LSTM, GRU)
OWN_CLASSES = (
    *("LstmForSequenceClassification", "GruForSequenceClassification", "TextCnnForSequenceClassification"),
    *("LstmForCausalLM", "GruForCausalLM"),
)
"""The classes that `import hfpipe.models` makes transformers know, by the names in a config's `architectures`."""

_TWO_WAYS = {"bidirectional": True}


@dataclass(frozen=True)
class BaselineModel:
    """A baseline: `title` is what a report calls it, the rest are settings by their own names."""

    title: str
    model_type: str
    config_overrides: Mapping[str, str | int | float | bool] = field(default_factory=dict)
    model_size: str = "small"
    learning_rate: float = 2e-3
    num_train_epochs: float = 4.0
    per_device_train_batch_size: int = 32
    per_device_eval_batch_size: int = 64

    def settings(self) -> dict[str, object]:
        """Return the settings that make a run train this model; what it cannot have is unset among them."""
        return {
            "model_name_or_path": None,
            "attn_implementation": None,
            "use_peft": False,
            "model_type": self.model_type,
            "model_size": self.model_size,
            "config_overrides": dict(self.config_overrides) or None,
            "learning_rate": self.learning_rate,
            "num_train_epochs": self.num_train_epochs,
            "per_device_train_batch_size": self.per_device_train_batch_size,
            "per_device_eval_batch_size": self.per_device_eval_batch_size,
        }


CLASSIFIER_BASELINES: Mapping[str, BaselineModel] = {
    "lstm": BaselineModel("LSTM", LSTM),
    "gru": BaselineModel("GRU", GRU),
    "bilstm": BaselineModel("bidirectional LSTM", LSTM, _TWO_WAYS),
    "bigru": BaselineModel("bidirectional GRU", GRU, _TWO_WAYS),
    "textcnn": BaselineModel("TextCNN", TEXTCNN),
}
LANGUAGE_BASELINES: Mapping[str, BaselineModel] = {
    "lstm": BaselineModel("LSTM language model", LSTM, per_device_train_batch_size=16),
    "gru": BaselineModel("GRU language model", GRU, per_device_train_batch_size=16),
}

MAJORITY, TFIDF = "majority", "tfidf"
CLASSICAL = (MAJORITY, TFIDF)
"""Baselines of classifiers that are no networks."""
BASELINES = (*CLASSICAL, *CLASSIFIER_BASELINES)
"""What the setting `baselines` can name; those of language models are among them."""
