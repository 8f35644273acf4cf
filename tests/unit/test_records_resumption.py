"""What waits to be published, and what never was a checkpoint: found as the next start will find it, nothing moved."""

from pathlib import Path

import pytest
from test_checkpoints import CONFIG, MISSING, damage, entries, stage, write_run

from hfpipe.errors import CheckpointError
from hfpipe.records.manifest import find_damage
from hfpipe.records.publication import clean_leftovers, list_sealed
from hfpipe.records.resumption import Resumption, find_resumption

ANEW = "begin anew with fresh_start: true or another output_dir"


def look(checkpoints: Path, wanted: str | None = None, *, needs_best: bool = False) -> Resumption:
    """Find without changing anything, as a check does; the start then finds the same under its final name."""
    before = entries(checkpoints)
    found = find_resumption(checkpoints, wanted, config=CONFIG, needs_best=needs_best)
    assert entries(checkpoints) == before
    clean_leftovers(checkpoints)
    started = find_resumption(checkpoints, wanted, config=CONFIG, needs_best=needs_best)
    assert started.folder is not None
    assert (started.folder.name, started.lines()) == (found.name, [*found.lines()])
    return found


def test_a_sealed_checkpoint_is_found_before_it_is_published(tmp_path: Path) -> None:
    write_run(tmp_path, 2, 4)
    stage(tmp_path, 10)
    (tmp_path / ".writing-12").mkdir()
    assert [folder.name for folder in list_sealed(tmp_path)] == ["checkpoint-2", "checkpoint-4", ".writing-10"]
    assert look(tmp_path).name == "checkpoint-10"


@pytest.mark.parametrize("wanted", [None, "checkpoint-6", "{}/checkpoint-6"])
def test_a_sealed_checkpoint_is_gone_on_from_where_all_others_are_damaged(wanted: str | None, tmp_path: Path) -> None:
    write_run(tmp_path, 2, 4)
    for step in (2, 4):
        damage(tmp_path / f"checkpoint-{step}")
    stage(tmp_path, 6)
    assert look(tmp_path, wanted and wanted.format(tmp_path)).name == "checkpoint-6"


def test_a_sealed_checkpoint_that_is_damaged_is_named_as_it_will_be(tmp_path: Path) -> None:
    write_run(tmp_path, 2)
    damage(stage(tmp_path, 4))
    found = find_resumption(tmp_path, None, config=CONFIG, needs_best=False)
    assert found.name == "checkpoint-2"
    assert [line.partition(":")[0] for line in found.lines()] == [
        f"checkpoint-4 cannot be gone on from: {tmp_path}/.writing-4/model.safetensors".partition(":")[0]
    ]


def test_a_sealed_one_takes_the_place_of_what_is_there_and_is_the_best(tmp_path: Path) -> None:
    write_run(tmp_path, 4, 6, best=4)
    damage(tmp_path / "checkpoint-4")
    stage(tmp_path, 4, best=4)
    assert look(tmp_path, needs_best=True).name == "checkpoint-6"


def test_the_beginning_has_no_name(tmp_path: Path) -> None:
    assert find_resumption(tmp_path, None, config=CONFIG, needs_best=False).name == ""


def test_a_run_of_a_version_without_manifests_is_not_told_to_put_files_back(tmp_path: Path) -> None:
    write_run(tmp_path, 2, 4)
    for step in (2, 4):
        (tmp_path / f"checkpoint-{step}" / "manifest.json").unlink()
    with pytest.raises(CheckpointError) as error:
        find_resumption(tmp_path, None, config=CONFIG, needs_best=False)
    assert str(error.value) == (
        "the run directory has 2 problems:\n"
        f"  - {tmp_path}/checkpoint-4/manifest.json: {MISSING}; {ANEW}\n"
        f"  - {tmp_path}/checkpoint-2/manifest.json: {MISSING}; {ANEW}"
    )


@pytest.mark.parametrize("name", ["Thumbs.db", "desktop.ini", "Desktop.ini", ".DS_Store"])
def test_what_desktops_leave_behind_is_no_damage(name: str, tmp_path: Path) -> None:
    write_run(tmp_path, 2)
    (tmp_path / "checkpoint-2" / name).write_text("x")
    assert find_damage(tmp_path / "checkpoint-2", step=2, config=CONFIG) == []
    (tmp_path / "checkpoint-2" / f"my_{name}").write_text("x")
    assert len(find_damage(tmp_path / "checkpoint-2", step=2, config=CONFIG)) == 1
