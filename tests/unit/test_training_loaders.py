"""What the loaders pass on of the arguments."""

from pathlib import Path

import numpy as np
import pytest
from transformers import TrainingArguments

from hfpipe.data.places import Places
from hfpipe.data.tokens import TokenizedTexts
from hfpipe.training.datasets import LabelledRows
from hfpipe.training.loaders import build_evaluation_loader


@pytest.mark.parametrize(("workers", "context"), [(0, None), (1, "spawn")])
def test_workers_start_as_asked(tmp_path: Path, workers: int, context: str | None) -> None:
    args = TrainingArguments(
        output_dir=str(tmp_path),
        use_cpu=True,
        dataloader_num_workers=workers,
        dataloader_multiprocessing_context="spawn",
    )
    found = build_evaluation_loader(_rows(), args).multiprocessing_context
    assert (None if found is None else found.get_start_method()) == context


def _rows() -> LabelledRows:
    texts = TokenizedTexts(
        ids=np.array([5, 6, 7], np.int32),
        offsets=np.array([0, 2, 3]),
        full_lengths=np.array([2, 1]),
        lost_tokens=np.zeros(2, np.int64),
    )
    places = Places(("a.csv",), np.zeros(2, np.int32), np.array([2, 3]))
    return LabelledRows(texts, targets=np.array([0, 1]), places=places, padding_id=0)
