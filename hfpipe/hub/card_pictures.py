"""The pictures of a card, drawn when a run ends: which labels are taken for which, and how sure means how right.

They show counts and shares, no texts. A run without predictions has none; a name is drawn only where it says something.
"""

from pathlib import Path

import numpy as np

from hfpipe.config.sections import REGRESSION
from hfpipe.evaluation.predictions import predictions_path, read_predictions
from hfpipe.evaluation.record import EvaluationRecord
from hfpipe.hub.files import CONFUSION, RELIABILITY
from hfpipe.report.charts import reliability_lines
from hfpipe.report.plots_scores import plot_confusion, plot_reliability
from hfpipe.report.told_rows import ScoredPart


def write_pictures(run_dir: Path, record: EvaluationRecord) -> None:
    """Draw the pictures of a finished run into its directory.

    Raises:
        CheckpointError: If the predictions cannot be read, or a picture cannot be written.
    """
    part = record.parts.get(record.judged_part)
    if part is not None and part.confusion is not None:
        plot_confusion(np.array(part.confusion), record.label_names, run_dir / CONFUSION)
    path = predictions_path(run_dir, record.judged_part)
    if record.problem_type == REGRESSION or not path.is_file():
        return
    predictions = read_predictions(path)
    if len(predictions):
        temperature = record.calibration.temperature if record.calibration else 1.0
        plot_reliability(reliability_lines(ScoredPart(predictions, temperature)), run_dir / RELIABILITY)
