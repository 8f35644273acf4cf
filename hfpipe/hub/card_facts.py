"""What a model card is made of: the record of a run, and the metrics of exactly the weights it lies beside."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hfpipe.config.sections import FINETUNE, PRETRAIN
from hfpipe.evaluation.record import EvaluationRecord
from hfpipe.hub.scrubbing import scrub
from hfpipe.records.sessions import saved_settings

# What the demo extra carries, by its name on the Hub.
HUB_NAMES: Mapping[str, str] = {
    "demo:imdb": "stanfordnlp/imdb",
    "demo:minilm": "sentence-transformers/all-MiniLM-L6-v2",
}
PARTS: Mapping[str, str] = {"eval": "validation", "test": "test"}
THIS_FOLDER = "."


@dataclass(frozen=True)
class CardFacts:
    """Everything a card says.

    `metrics` are those of the weights beside the card, by Trainer's names, and `step` is their step. `examples` are
    (label, text) of the validation data, shown to whoever may read the card. `model_id` is what the code in it loads: a
    repository, at `revision` where that is not the main branch, or the folder the card lies in. `evaluation` is there
    for the finished model, and `pictures` are the names of those that lie beside the card.
    """

    name: str
    run: Mapping[str, Any]
    metrics: Mapping[str, float]
    history: Sequence[Mapping[str, Any]]
    step: int
    model_id: str = THIS_FOLDER
    revision: str | None = None
    is_finished: bool = True
    is_adapter: bool = False
    examples: Sequence[tuple[str, str]] = ()
    evaluation: EvaluationRecord | None = None
    pictures: Sequence[str] = ()
    settings: Mapping[str, Any] = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "settings", scrub(saved_settings(self.run)))

    @property
    def is_language_model(self) -> bool:
        """Whether it continues texts rather than judging them."""
        return bool(self.run["recipe"] == PRETRAIN)

    @property
    def problem_type(self) -> str:
        """What a label is; the recipe's name for a run without labels."""
        return str(self.settings.get("problem_type")) if self.run["recipe"] == FINETUNE else PRETRAIN

    @property
    def temperature(self) -> float | None:
        """What the finished model's logits are divided by; None where it was not calibrated."""
        calibration = None if self.evaluation is None else self.evaluation.calibration
        return None if calibration is None else calibration.temperature

    @property
    def pipeline_tag(self) -> str:
        """The task by its name on the Hub."""
        return "text-generation" if self.is_language_model else "text-classification"

    @property
    def base_model(self) -> str | None:
        """The Hub's name of the checkpoint it began from; None from scratch, and for one that lay in a folder."""
        return find_base_model(self.run)

    @property
    def data_sets(self) -> tuple[str, ...]:
        """The Hub's names of the data."""
        settings = saved_settings(self.run)
        mixture = settings.get("dataset_mixture") or ()
        names = [settings.get("dataset_name")]
        names += [source.get("dataset_name") for source in mixture if isinstance(source, Mapping)]  # type: ignore[attr-defined]
        return tuple(dict.fromkeys(name for name in map(hub_name, names) if name is not None))

    @property
    def files(self) -> str | None:
        """The names of the user's own files, the first few of many; None where all data are on the Hub."""
        sources = [self.settings, *(self.settings.get("dataset_mixture") or ())]
        names = [name for source in sources for name in _as_list(source.get("train_file"))]
        return ", ".join(names if len(names) <= 3 else [*names[:3], f"{len(names) - 3:,} more files"]) or None

    @property
    def data_name(self) -> str:
        """What the data are called in a sentence: by their names on the Hub and the names of their files."""
        return " and ".join([*self.data_sets, *([self.files] if self.files else [])]) or "own data"

    def part(self, name: str) -> Mapping[str, Any]:
        """Return the account of the rows of a part, empty where there is none."""
        if name == "train" and self.settings.get("streaming"):
            return self._streamed()
        return dict(self.run["data"].get("parts", {}).get(name, {}))

    def _streamed(self) -> Mapping[str, Any]:
        """Return the account of a training part that is read as it is trained on, as far as these weights go."""
        logged = [event for event in self.history if "documents_read" in event and event["step"] <= self.step]
        counts = (self.run.get("stream") if self.is_finished else None) or (logged[-1] if logged else None)
        if counts is None:
            return {}
        fates = {key.removeprefix("documents_"): value for key, value in counts.items() if key.startswith("documents_")}
        left_out = {
            fate: {"count": int(count)} for fate, count in fates.items() if fate not in ("read", "used") and count
        }
        return {"read": int(fates["read"]), "used": int(fates["used"]), "left_out": left_out}

    def scores(self, prefix: str) -> dict[str, float]:
        """Return the finite metrics of a part, loss first, without times."""
        own = {
            name.removeprefix(f"{prefix}_"): value
            for name, value in self.metrics.items()
            if name.startswith(f"{prefix}_")
        }
        known = None if self.evaluation is None else self.evaluation.parts.get(PARTS[prefix])
        return {
            name: value
            for name, value in own.items()
            if isinstance(value, int | float) and math.isfinite(value) and not name.endswith(_NO_SCORES)
            # beside these there are the ends of intervals and the scores of baselines
            if known is None or name in known.metrics
        }


def _as_list(value: object) -> Sequence[str]:
    if value is None:
        return ()
    return (value,) if isinstance(value, str) else tuple(value)  # type: ignore[arg-type]


_NO_SCORES = ("runtime", "per_second")


def find_base_model(run: Mapping[str, Any]) -> str | None:
    """Return the Hub's name of the checkpoint a run began from; None from scratch, and for one that lay in a folder.

    The commit it was loaded from tells: seen from elsewhere, the name of a folder may be that of somebody's model.
    """
    name = saved_settings(run).get("model_name_or_path")
    is_folder = run.get("model_commit", "unknown") is None
    return HUB_NAMES.get(str(name)) if is_folder else hub_name(name)


def hub_name(name: object) -> str | None:
    """Return the name on the Hub of a model or data set given in the settings; None for a folder of this machine."""
    if not isinstance(name, str) or not name:
        return None
    if name in HUB_NAMES:
        return HUB_NAMES[name]
    return None if Path(name).expanduser().exists() or scrub(name) != name or name.count("/") > 1 else name
