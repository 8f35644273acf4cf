"""What a report is made of: the files of a run directory, read without a model.

Every file but `run.json` may be missing; what lacks it is left out of the report. Refuses files that are there and
cannot be read. The decision worth knowing: secrets are taken out here, on the way in, and folders of this machine where
settings and names of files are shown, for a report is handed around.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hfpipe.config.sections import PRETRAIN
from hfpipe.evaluation.predictions import Predictions, predictions_path, read_predictions
from hfpipe.evaluation.record import EVALUATION_FILE, TEST, VALIDATION, EvaluationRecord, read_evaluation
from hfpipe.inspection.record import FINDINGS_FILE, FindingsRecord, read_findings
from hfpipe.records.run_directory import (
    HISTORY_FILE,
    METRICS_FILE,
    RUN_FILE,
    SAMPLES_FILE,
    read_history,
    read_json,
)
from hfpipe.records.sessions import saved_settings
from hfpipe.records.typed_json import from_plain, to_plain
from hfpipe.report.occlusion import ATTRIBUTIONS_FILE, Attributions, read_attributions
from hfpipe.secrecy import hide_in

Events = Sequence[Mapping[str, Any]]


@dataclass(frozen=True)
class RunFiles:
    """The files of a run; `predictions` are by part."""

    folder: Path
    run: Mapping[str, Any]
    metrics: Mapping[str, float | None] = field(default_factory=dict)
    history: Events = ()
    evaluation: EvaluationRecord | None = None
    predictions: Mapping[str, Predictions] = field(default_factory=dict)
    findings: FindingsRecord | None = None
    attributions: Attributions | None = None
    samples: Events = ()

    @property
    def name(self) -> str:
        """What the run is called: its folder."""
        return self.folder.resolve().name

    @property
    def settings(self) -> Mapping[str, Any]:
        """The settings by key."""
        return saved_settings(self.run)

    @property
    def is_language_model(self) -> bool:
        """Whether it continues texts rather than judging them."""
        return bool(self.run["recipe"] == PRETRAIN)

    @property
    def kept_step(self) -> int | None:
        """The step whose weights the run kept, where that is known."""
        best = self.run.get("best_step") if self.settings.get("load_best_model_at_end") else None
        return best or self.run.get("steps")

    @property
    def judged(self) -> Predictions | None:
        """The predictions on the part that the model is judged by."""
        return self.predictions.get(self.evaluation.judged_part) if self.evaluation else None


def read_run_files(run_dir: Path, *, with_predictions: bool = True) -> RunFiles:
    """Return what lies in a run directory, secrets hidden; a comparison of several runs needs no predictions.

    Raises:
        CheckpointError: If it is no run, or a file cannot be read.
    """
    run = hide_in(read_json(run_dir / RUN_FILE))
    parts = (VALIDATION, TEST) if with_predictions else ()
    found = {part: predictions_path(run_dir, part) for part in parts}
    return RunFiles(
        run_dir,
        run,
        _read_optional(run_dir / METRICS_FILE) or {},
        read_history(run_dir / HISTORY_FILE),
        read_evaluation(run_dir) if (run_dir / EVALUATION_FILE).is_file() else None,
        {part: read_predictions(path) for part, path in found.items() if path.is_file()},
        _read_findings(run_dir / FINDINGS_FILE),
        read_attributions(run_dir) if (run_dir / ATTRIBUTIONS_FILE).is_file() else None,
        hide_in(read_history(run_dir / SAMPLES_FILE)),
    )


def _read_optional(path: Path) -> Any:
    return hide_in(read_json(path)) if path.is_file() else None


def _read_findings(path: Path) -> FindingsRecord | None:
    if not path.is_file():
        return None
    return from_plain(FindingsRecord, hide_in(to_plain(read_findings(path))), place=str(path))
