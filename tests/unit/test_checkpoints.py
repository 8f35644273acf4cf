"""Checkpoints are published whole, rotated, found again, and set aside where they are damaged."""

import errno
import json
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import killed_publication
import pytest
from full_disk import fill_disk_at
from trials import run_trial

from hfpipe.errors import CheckpointError
from hfpipe.records.manifest import MANIFEST_MISSING as MISSING
from hfpipe.records.manifest import Stamp, find_damage, seal
from hfpipe.records.publication import clean_leftovers, publish, rotate, set_later_aside, staging_folder
from hfpipe.records.resumption import find_resumption
from hfpipe.records.run_directory import write_json

CONFIG = "c" * 64
PUT_BACK = "put the files back as they were saved, or begin anew with fresh_start: true or another output_dir"
_refusing: list[bool] = []
_kept: list[str] = []


def _hook(event: str, arguments: tuple[object, ...]) -> None:
    if event == "shutil.rmtree" and _kept and str(arguments[0]).endswith(_kept[0]):
        raise PermissionError(errno.EACCES, "Permission denied", str(arguments[0]))
    if event == "os.rename" and _refusing and Path(str(arguments[0])).is_dir():
        raise OSError(errno.EXDEV, "Invalid cross-device link")


sys.addaudithook(_hook)


@contextmanager
def folders_not_renamed() -> Iterator[None]:
    """Behave like a file system that renames files alone, as an overlay does."""
    _refusing.append(True)
    try:
        yield
    finally:
        _refusing.clear()


def stage(checkpoints: Path, step: int, *, best: int | None = None, content: str = "weights") -> Path:
    """Write and seal the checkpoint of a step as a run would, and return where it waits."""
    staging = staging_folder(checkpoints, step)
    staging.mkdir(parents=True)
    write_json(staging / "trainer_state.json", {"global_step": step, "best_global_step": best})
    (staging / "model.safetensors").write_text(f"{content} of {step}")
    seal(staging, Stamp(step, 8 * step, 1, 8, CONFIG))
    return staging


def write_run(checkpoints: Path, *steps: int, best: int | None = None) -> None:
    """Publish checkpoints, each of which refers to the best one once that is there."""
    for step in steps:
        stage(checkpoints, step, best=best if best is not None and step >= best else None)
        publish(checkpoints, step)


def entries(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def damage(folder: Path) -> None:
    (folder / "model.safetensors").write_text("wrong   of 0")


def find(checkpoints: Path, wanted: str | None = None, *, needs_best: bool = False) -> str | None:
    """Return the name of the checkpoint to go on from, after what was passed over was moved."""
    found = find_resumption(checkpoints, wanted, config=CONFIG, needs_best=needs_best)
    found.leave_behind()
    return found.folder.name if found.folder else None


def test_a_sealed_folder_gets_its_name(tmp_path: Path) -> None:
    stage(tmp_path, 4)
    assert publish(tmp_path, 4) == tmp_path / "checkpoint-4"
    assert entries(tmp_path) == ["checkpoint-4"]
    assert find_damage(tmp_path / "checkpoint-4", step=4, config=CONFIG) == []


def test_where_folders_are_not_renamed_files_are(tmp_path: Path) -> None:
    with folders_not_renamed():
        write_run(tmp_path, 2, 4, 6)
        stage(tmp_path, 6, content="other weights")
        publish(tmp_path, 6)
        rotate(tmp_path, keep=1, best_step=2)
        set_later_aside(tmp_path, 2)
    assert entries(tmp_path) == ["checkpoint-2", "set_aside"]
    assert entries(tmp_path / "set_aside") == ["checkpoint-6"]
    assert find_damage(tmp_path / "set_aside" / "checkpoint-6", step=6) == []
    assert (tmp_path / "set_aside" / "checkpoint-6" / "model.safetensors").read_text() == "other weights of 6"


@pytest.mark.parametrize(("file_system", "fewest_kills"), [("renaming", 6), ("refusing", 12)])
def test_a_kill_while_a_checkpoint_is_replaced_leaves_a_whole_one(file_system: str, fewest_kills: int) -> None:
    command = [sys.executable, killed_publication.__file__, file_system]
    printed = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    *killed, whole = json.loads(printed)
    assert len(killed) >= fewest_kills
    assert {code for code, _, _ in killed} == {9}
    assert whole == [0, ["checkpoint-4"], "model.safetensors new"]
    # what was sealed when the replacement began is what is there at the next start
    assert [(names, content) for _, names, content in killed] == [
        (["checkpoint-4"], "model.safetensors new") for _ in killed
    ]


def test_what_a_kill_left_is_made_good(tmp_path: Path) -> None:
    write_run(tmp_path, 2)
    stage(tmp_path, 4)
    unfinished = stage(tmp_path, 6)
    (unfinished / "manifest.json").unlink()
    torn = stage(tmp_path, 8)
    (torn / "manifest.json").write_text('{"format"')
    (tmp_path / ".removing-1").mkdir()
    assert clean_leftovers(tmp_path) == [tmp_path / "checkpoint-4"]
    assert entries(tmp_path) == ["checkpoint-2", "checkpoint-4"]


@pytest.mark.parametrize(
    ("keep", "best", "left"),
    [
        (2, None, [6, 8]),
        (2, 4, [4, 8]),
        (1, 4, [4, 8]),
        (1, None, [8]),
        (3, 2, [2, 6, 8]),
        (9, 2, [2, 4, 6, 8]),
        (None, 2, [2, 4, 6, 8]),
    ],
)
def test_rotation_spares_the_best_and_the_newest(
    keep: int | None, best: int | None, left: list[int], tmp_path: Path
) -> None:
    write_run(tmp_path, 2, 4, 6, 8)
    rotate(tmp_path, keep=keep, best_step=best)
    assert entries(tmp_path) == [f"checkpoint-{step}" for step in left]


def test_what_cannot_be_removed_ends_no_run(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    write_run(tmp_path, 2, 4, 6)
    _kept.append(".removing-2")
    try:
        rotate(tmp_path, keep=1, best_step=None)
        assert clean_leftovers(tmp_path) == []
    finally:
        _kept.clear()
    told = f"{tmp_path}/.removing-2: cannot be removed (Permission denied); it is no checkpoint, so delete it by hand"
    assert caplog.messages == [told, told]
    assert entries(tmp_path) == [".removing-2", "checkpoint-6"]
    clean_leftovers(tmp_path)
    assert entries(tmp_path) == ["checkpoint-6"]


def test_of_a_checkpoint_that_is_a_link_the_link_is_removed(tmp_path: Path) -> None:
    write_run(tmp_path / "run", 2, 4)
    (tmp_path / "run" / "checkpoint-2").rename(tmp_path / "elsewhere")
    (tmp_path / "run" / "checkpoint-2").symlink_to(tmp_path / "elsewhere")
    rotate(tmp_path / "run", keep=1, best_step=None)
    assert entries(tmp_path / "run") == ["checkpoint-4"]
    assert find_damage(tmp_path / "elsewhere", step=2) == []


def test_a_run_without_checkpoints_begins(tmp_path: Path) -> None:
    assert find(tmp_path / "checkpoints") is None


def test_a_damaged_checkpoint_is_named_and_set_aside(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    write_run(tmp_path, 2, 4, 6, 8)
    damage(tmp_path / "checkpoint-8")
    (tmp_path / "checkpoint-6" / "manifest.json").unlink()
    assert find(tmp_path) == "checkpoint-4"
    assert entries(tmp_path) == ["checkpoint-2", "checkpoint-4", "set_aside"]
    assert entries(tmp_path / "set_aside") == ["checkpoint-6", "checkpoint-8"]
    wrong = {
        "checkpoint-8": "model.safetensors: its content is not what was written",
        "checkpoint-6": f"manifest.json: {MISSING}",
    }
    assert [record.message for record in caplog.records] == [
        f"{name} cannot be gone on from: {tmp_path}/{name}/{what}; it now lies in {tmp_path}/set_aside"
        for name, what in wrong.items()
    ]
    assert find(tmp_path) == "checkpoint-4"


def test_where_all_are_damaged_the_run_is_refused_and_nothing_moved(tmp_path: Path) -> None:
    write_run(tmp_path, 2, 4)
    damage(tmp_path / "checkpoint-2")
    (tmp_path / "checkpoint-2").rename(tmp_path / "between")
    (tmp_path / "checkpoint-4").rename(tmp_path / "checkpoint-2")
    (tmp_path / "between").rename(tmp_path / "checkpoint-4")
    with pytest.raises(CheckpointError) as error:
        find(tmp_path)
    assert str(error.value) == (
        "the run directory has 3 problems:\n"
        f"  - {tmp_path}/checkpoint-4/manifest.json: step 2: the folder is named after step 4; {PUT_BACK}\n"
        f"  - {tmp_path}/checkpoint-4/model.safetensors: its content is not what was written; {PUT_BACK}\n"
        f"  - {tmp_path}/checkpoint-2/manifest.json: step 4: the folder is named after step 2; {PUT_BACK}"
    )
    assert entries(tmp_path) == ["checkpoint-2", "checkpoint-4"]


def test_a_checkpoint_of_another_run_is_none_of_this(tmp_path: Path) -> None:
    write_run(tmp_path, 2)
    with pytest.raises(CheckpointError, match=r"checkpoint-2/manifest\.json: a run of other settings wrote it; put"):
        find_resumption(tmp_path, None, config="d" * 64, needs_best=False)


def test_a_damaged_checkpoint_that_was_asked_for_is_refused(tmp_path: Path) -> None:
    write_run(tmp_path, 2, 4)
    damage(tmp_path / "checkpoint-4")
    for wanted in ("checkpoint-4", str(tmp_path / "checkpoint-4")):
        with pytest.raises(CheckpointError) as error:
            find(tmp_path, wanted)
        assert str(error.value) == (
            "the run directory has 1 problem:\n"
            f"  - {tmp_path}/checkpoint-4/model.safetensors: its content is not what was written; "
            "put the files back as they were saved, or leave resume_from_checkpoint out to go on from another"
        )
    assert find(tmp_path, "checkpoint-2") == "checkpoint-2"
    with pytest.raises(CheckpointError, match="of this run; there is: checkpoint-2, checkpoint-4"):
        find(tmp_path, "checkpoint-3")


def test_the_best_weights_have_to_be_whole_where_the_run_ends_with_them(tmp_path: Path) -> None:
    write_run(tmp_path, 2, 4, 6, 8, best=6)
    damage(tmp_path / "checkpoint-6")
    assert find(tmp_path) == "checkpoint-8"
    # 8 is whole, and its run would end with the weights of 6; from 4 on both are made again
    assert find(tmp_path, needs_best=True) == "checkpoint-4"
    set_later_aside(tmp_path, 4)
    assert entries(tmp_path) == ["checkpoint-2", "checkpoint-4", "set_aside"]


def test_best_weights_that_are_gone_and_nothing_before_them(tmp_path: Path) -> None:
    write_run(tmp_path, 6, 8, best=6)
    rotate(tmp_path, keep=1, best_step=None)
    with pytest.raises(CheckpointError) as error:
        find(tmp_path, needs_best=True)
    assert str(error.value) == (
        "the run directory has 2 problems:\n"
        f"  - {tmp_path}/checkpoint-8: is whole, but the run would end with the weights of checkpoint-6, its best, "
        f"which is not; {PUT_BACK}\n"
        f"  - {tmp_path}/checkpoint-6/manifest.json: {MISSING}; {PUT_BACK}"
    )
    assert entries(tmp_path) == ["checkpoint-8"]


@pytest.mark.parametrize("rank", [0, 1])
def test_a_full_disk_of_one_process_ends_both(
    rank: int, checkpoints: Callable[[str], Path], reviews_csv: Callable[[int], Path], tmp_path: Path
) -> None:
    settings = {
        "train_file": reviews_csv(44),
        "model_name_or_path": checkpoints("bert"),
        "output_dir": tmp_path / "run",
        "max_seq_length": 16,
        "per_device_train_batch_size": 4,
        "max_steps": 4,
        "save_strategy": "steps",
        "save_steps": 2,
        "disable_tqdm": "true",
    }
    ending = run_trial(
        "finetune_classifier", settings, processes=2, prepare=fill_disk_at, prepare_arguments=(rank, ".writing-4")
    )
    assert ending.codes == (2, 2)
    assert not ending.traceback
    place = f"{tmp_path}/run/checkpoints/.writing-4/rng_state_{rank}"
    assert re.search(
        rf"  - {place}\S*: [\d.]+ [kMG]B needed, [\d,.]+ [MGT]B free: the disk is full; free some or lower "
        r"save_total_limit, then give the same command again: it goes on from checkpoint-2\n",
        ending.output,
    )
    assert entries(tmp_path / "run" / "checkpoints") == ["checkpoint-2"]
    assert find_damage(tmp_path / "run" / "checkpoints" / "checkpoint-2", step=2) == []
