"""The resolved configuration of one run: each part's section, and who decided each value."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from hfpipe.config.given import Origin
from hfpipe.config.sections import DataSettings, EvaluationSettings, HubSettings, ModelSettings, TrainingSettings
from hfpipe.config.settled import read_defaults
from hfpipe.config.stepping import ProfileWindow
from hfpipe.config.values import JSON
from hfpipe.secrecy import hide_in


@dataclass(frozen=True)
class RunConfig:
    """All settings of a run.

    `trainer_arguments` holds `TrainingArguments` fields only: the recipe's defaults overlaid with what was given or
    follows from it. `origins` has every key of every section and of `trainer_arguments`. `baseline_of` is no setting:
    it names the directory of the run that this one is only there to be compared with. That run looks at the same data,
    and its report tells of both, so this one has neither findings nor a report of its own. Nor is `profiled` a setting:
    of such a run nothing but a few steps is wanted.
    """

    recipe: str
    data: DataSettings
    model: ModelSettings
    training: TrainingSettings
    evaluation: EvaluationSettings
    hub: HubSettings
    trainer_arguments: Mapping[str, Any]
    origins: Mapping[str, Origin]
    config_file: Path | None
    baseline_of: Path | None = None
    profiled: ProfileWindow | None = None

    @property
    def output_dir(self) -> Path:
        """The run directory: as set, else `runs/` and the name of the YAML file or of the recipe."""
        if self.training.output_dir is not None:
            return Path(self.training.output_dir).expanduser()
        return Path("runs") / (_run_name(self.config_file) if self.config_file else self.recipe)

    @property
    def split_seed(self) -> int:
        """What decides the validation split and the samples."""
        return self.training.seed if self.data.split_seed is None else self.data.split_seed

    def sections(self) -> dict[str, Mapping[str, object]]:
        """Return the values by section and key, `trainer` last."""
        return {
            "data": vars(self.data),
            "model": vars(self.model),
            "training": vars(self.training),
            "evaluation": vars(self.evaluation),
            "hub": vars(self.hub),
            "trainer": dict(self.trainer_arguments),
        }

    def flat(self) -> dict[str, JSON]:
        """Return every setting and passed argument by key, tuples as lists, fit for JSON and for other people's eyes.

        This is what is recorded and compared on a resume, both times without secrets: an address has no password.
        """
        flat = {key: _json(value) for values in self.sections().values() for key, value in values.items()}
        return cast("dict[str, JSON]", hide_in(flat))

    def place(self, key: str) -> str:
        """Return where the user set `key`: `--seed`, `minilm.yaml:7: seed`, or the key where nobody did.

        A planned value is told by its key and what it follows from: `problem_type (follows from --label_delimiter)`.
        """
        origin = self.origins.get(key, Origin("default"))
        if origin.kind == "plan" and origin.place:
            return f"{key} (follows from {origin.place})"
        return f"{origin.place}: {key}" if origin.kind == "file" else origin.place or key

    def default_of(self, key: str) -> JSON:
        """Return what a setting of hfpipe is where nobody says anything; None for Trainer's own, and unknown ones."""
        known = {name for values in list(self.sections().values())[:-1] for name in values}
        return _json(read_defaults(self.recipe).get(key)) if key in known else None


def _run_name(config_file: Path) -> str:
    """`recipes/imdb/minilm.yaml` is `imdb-minilm`; a file that lies in no folder of named runs has its own name."""
    folders = config_file.absolute().parent.parts
    is_named_run = folders[-2:-1] == ("recipes",)
    return f"{folders[-1]}-{config_file.stem}" if is_named_run else config_file.stem


def _json(value: object) -> JSON:
    if isinstance(value, Mapping):
        return {str(key): _json(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_json(item) for item in value]
    assert value is None or isinstance(value, str | int | float | bool), f"{value!r} is no setting"
    return value
