"""Of the checkpoints that are kept, each can be gone on from: the one that was the best by then is kept beside it."""

from pathlib import Path

import pytest
from test_checkpoints import CONFIG, entries, stage

from hfpipe.records.publication import publish, rotate
from hfpipe.records.resumption import find_resumption


@pytest.mark.parametrize(
    ("keep", "best_of", "left"),
    [
        (2, {2: 2, 4: 2, 6: 2, 8: 8}, [2, 8]),
        (3, {2: 2, 4: 2, 6: 2, 8: 8}, [2, 6, 8]),
        (3, {2: 2, 4: 4, 6: 2, 8: 8}, [2, 6, 8]),
        (2, {2: 2, 4: 4, 6: 6, 8: 8}, [6, 8]),
        (2, {2: 2, 4: 4, 6: 4, 8: 4}, [4, 8]),
        (1, {2: 2, 4: 2, 6: 2, 8: 8}, [8]),
    ],
)
def test_where_the_newest_is_the_best_the_one_before_keeps_its_own(
    keep: int, best_of: dict[int, int], left: list[int], tmp_path: Path
) -> None:
    for step, best in best_of.items():
        stage(tmp_path, step, best=best)
        publish(tmp_path, step)
    rotate(tmp_path, keep=keep, best_step=best_of[8], best_of=best_of)
    assert entries(tmp_path) == [f"checkpoint-{step}" for step in left]
    (tmp_path / "checkpoint-8" / "model.safetensors").write_bytes(b"")
    if keep > 1:
        assert find_resumption(tmp_path, None, config=CONFIG, needs_best=True).folder == tmp_path / (
            f"checkpoint-{left[-2]}"
        )
