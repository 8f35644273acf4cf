"""The manifest of a checkpoint finds what was changed since it was written; files are whole or absent."""

import errno
import hashlib
import os
import random
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hfpipe.config import change_of
from hfpipe.errors import CheckpointError
from hfpipe.records.disk import error_number, show_bytes, told_by_path, write_problem
from hfpipe.records.durable import clean_partial_files, move_folder, write_whole
from hfpipe.records.manifest import (
    MANIFEST_FILE,
    FileRecord,
    Manifest,
    Stamp,
    find_damage,
    fingerprint,
    hash_file,
    seal,
)
from hfpipe.records.run_directory import sync_history

CORRUPTIONS = 200
SEED = 20_261_122
FILES = ("config.json", "model.safetensors", "optimizer.json", "optimizer.safetensors", "adapter/weights.safetensors")
_closed: list[str] = []


def _hook(event: str, arguments: tuple[object, ...]) -> None:
    """Let a folder be opened by nobody, as where it may be written and not read, and under Windows."""
    if event == "open" and _closed and str(arguments[0]) == _closed[0]:
        raise PermissionError(errno.EACCES, "Permission denied")


sys.addaudithook(_hook)


def make_checkpoint(checkpoints: Path, step: int, *, config: str = "c" * 64) -> Path:
    """Return a sealed folder of files of several sizes, other ones for each step."""
    folder = checkpoints / f"checkpoint-{step}"
    for number, name in enumerate(FILES):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(random.Random(100 * step + number).randbytes(300 * (number + 1)))
    seal(folder, Stamp(step, 8 * step, world_size=2, rows_per_step=8, config=config))
    return folder


MISSING = "is missing: the checkpoint was not finished, or a version of hfpipe without manifests wrote it"


def found_in(folder: Path, *, step: int | None = None, config: str | None = None) -> list[str]:
    """Return what is wrong with `folder`, in words, without the folder's own path."""
    return [str(each).replace(f"{folder}/", "") for each in find_damage(folder, step=step, config=config)]


def test_a_sealed_folder_is_whole(tmp_path: Path) -> None:
    folder = make_checkpoint(tmp_path, 4)
    (folder / ".nfs0001").write_text("of a file system")
    assert found_in(folder, step=4, config="c" * 64) == []
    head = ('"format": "hfpipe checkpoint 1"', '"step": 4', '"samples": 32', '"world_size": 2', '"rows_per_step": 8')
    assert (folder / MANIFEST_FILE).read_text().startswith("{\n " + ",\n ".join(head) + ",\n")


def test_what_is_wrong_is_named(tmp_path: Path) -> None:
    folder = make_checkpoint(tmp_path, 4)
    (folder / "config.json").unlink()
    (folder / "model.safetensors").write_bytes(b"x" * 600)
    (folder / "optimizer.json").write_bytes(b"x" * 450)
    (folder / "training_args.bin").write_bytes(b"x")
    assert found_in(folder, step=6, config="d" * 64) == [
        "manifest.json: step 4: the folder is named after step 6",
        "manifest.json: a run of other settings wrote it",
        "training_args.bin: is not part of the checkpoint",
        "config.json: is missing",
        "model.safetensors: its content is not what was written",
        "optimizer.json: 450 bytes: 900 were written",
    ]


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda content: b"", "is not JSON (Expecting value: line 1 column 1 (char 0))"),
        (lambda content: content[:60], "is not JSON (Expecting value: line 4 column 13 (char 60))"),
        (lambda content: b"[]", "is not in the format 'hfpipe checkpoint 1'"),
        (lambda content: content.replace(b"checkpoint 1", b"checkpoint 2"), "'hfpipe checkpoint 2': is not in the "),
        (lambda content: content.replace(b'"step": 4', b'"step": 5'), "is not as it was written: its own sha256"),
        (lambda content: content + b"\n", "is not as it was written: its own sha256 differs"),
    ],
)
def test_a_changed_manifest_is_found(change: Callable[[bytes], bytes], told: str, tmp_path: Path) -> None:
    folder = make_checkpoint(tmp_path, 4)
    content = (folder / MANIFEST_FILE).read_bytes()
    assert change(content) != content
    (folder / MANIFEST_FILE).write_bytes(change(content))
    (problem,) = find_damage(folder)
    assert (problem.place, str(problem).partition(": ")[2][: len(told)]) == (str(folder / MANIFEST_FILE), told)


@pytest.mark.parametrize(
    "manifest",
    [
        Manifest(Stamp(4, 32, 2, 8, ""), {"../secret": FileRecord(1, "a")}),
        Manifest(Stamp(4, 32, 2, 8, ""), {"/etc/secret": FileRecord(1, "a")}),
        Manifest(Stamp(4, 32, 2, 8, ""), {"file": FileRecord(cast("int", "1"), "a")}),
        Manifest(Stamp(cast("int", "4"), 32, 2, 8, ""), {}),
    ],
)
def test_a_manifest_made_elsewhere_names_nothing_outside(manifest: Manifest, tmp_path: Path) -> None:
    (tmp_path / MANIFEST_FILE).write_bytes(manifest.render())
    assert found_in(tmp_path) == ["manifest.json: is not as it was written: its own sha256 differs"]


def test_a_folder_without_a_manifest_is_no_checkpoint(tmp_path: Path) -> None:
    folder = make_checkpoint(tmp_path, 4)
    (folder / MANIFEST_FILE).unlink()
    assert found_in(folder) == [f"manifest.json: {MISSING}"]


def flip(target: Path, other: Path, draw: random.Random) -> None:
    content = bytearray(target.read_bytes())
    content[draw.randrange(len(content))] ^= 1 << draw.randrange(8)
    target.write_bytes(content)


def truncate(target: Path, other: Path, draw: random.Random) -> None:
    os.truncate(target, draw.randrange(target.stat().st_size))


def zero(target: Path, other: Path, draw: random.Random) -> None:
    size = target.stat().st_size
    start = draw.randrange(size)
    with target.open("r+b") as file:
        file.seek(start)
        file.write(bytes(min(512, size - start)))


def delete(target: Path, other: Path, draw: random.Random) -> None:
    target.unlink()


def swap(target: Path, other: Path, draw: random.Random) -> None:
    content = target.read_bytes(), other.read_bytes()
    target.write_bytes(content[1])
    other.write_bytes(content[0])


def test_every_corruption_is_found(tmp_path: Path) -> None:
    whole = make_checkpoint(tmp_path / "whole", 8)
    draw, found = random.Random(SEED), 0
    for number in range(CORRUPTIONS):
        folder = tmp_path / "checkpoint-8"
        shutil.copytree(whole, folder)
        names = draw.sample([*FILES, MANIFEST_FILE], 2)
        corrupt = (flip, truncate, zero, delete, swap)[number % 5]
        corrupt(folder / names[0], folder / names[1], draw)
        found += bool(find_damage(folder, step=8))
        shutil.rmtree(folder)
    assert found == CORRUPTIONS


def test_swapped_checkpoints_are_found(tmp_path: Path) -> None:
    folders = [make_checkpoint(tmp_path, step) for step in (4, 6)]
    folders[0].rename(tmp_path / "between")
    folders[1].rename(folders[0])
    (tmp_path / "between").rename(folders[1])
    assert found_in(folders[0], step=4) == ["manifest.json: step 6: the folder is named after step 4"]
    assert found_in(folders[1], step=6) == ["manifest.json: step 4: the folder is named after step 6"]


@given(st.binary(max_size=5_000))
def test_hashes_are_those_of_the_bytes(tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
    path = tmp_path_factory.mktemp("hashed") / "file"
    path.write_bytes(content)
    record = hash_file(path)
    assert (record.size_bytes, record.sha256) == (len(content), hashlib.sha256(content).hexdigest())


def test_the_fingerprint_is_of_what_makes_a_run_this_one() -> None:
    settings = {"seed": 42, "train_file": "/data/a/train.csv", "learning_rate": 1e-4, "text_column_names": ("a", "b")}
    own = fingerprint(settings, change_of=change_of)
    same = [
        {**settings, "train_file": "elsewhere/train.csv", "text_column_names": ["a", "b"]},
        {**settings, "per_device_train_batch_size": 2, "gradient_accumulation_steps": 4},
        {**settings, "save_steps": 7, "output_dir": "/x", "num_train_epochs": 3, "max_seq_length": None},
    ]
    assert [fingerprint(each, change_of=change_of) for each in same] == [own] * 3
    others = [
        {**settings, "seed": 43},
        {**settings, "train_file": "/data/a/other.csv"},
        {**settings, "weight_decay": 1.0},
    ]
    assert own not in [fingerprint(each, change_of=change_of) for each in others]


def test_a_folder_that_cannot_be_renamed_at_once_moves_file_by_file(tmp_path: Path) -> None:
    folder = make_checkpoint(tmp_path / "source", 4)
    target = tmp_path / "target"
    target.mkdir()
    # what an earlier move left: a rename onto a folder that holds something is refused
    (folder / "config.json").rename(target / "config.json")
    move_folder(folder, target, last=MANIFEST_FILE)
    assert find_damage(target, step=4) == []
    assert not folder.exists()


def test_a_file_is_written_whole_or_not_at_all(tmp_path: Path) -> None:
    path = tmp_path / "run.json"
    write_whole(path, "first")
    (tmp_path / ".run.json.abc.partial").write_text("of a run that was killed")
    clean_partial_files(tmp_path)
    assert [each.name for each in tmp_path.iterdir()] == ["run.json"]
    # a name that is too long for any file system
    with pytest.raises(CheckpointError, match=r"x: cannot be written \(File name too long\)"):
        write_whole(tmp_path / ("x" * 300), "second")
    assert path.read_text() == "first"
    assert path.stat().st_mode & 0o777 == 0o666 & ~current_umask()


def current_umask() -> int:
    mask = os.umask(0o077)
    os.umask(mask)
    return mask


def test_the_message_of_a_full_disk_names_path_needed_and_free(tmp_path: Path) -> None:
    free = show_bytes(shutil.disk_usage(tmp_path).free)
    problems = [
        write_problem(tmp_path / "a" / "b", error, needed=2_500_000)
        for error in (
            OSError(errno.ENOSPC, "No space left on device"),
            OSError(errno.EDQUOT, "Disk quota exceeded"),
            OSError(errno.EFBIG, "File too large"),
            RuntimeError("Error while serializing: I/O error: No space left on device (os error 28)"),
            OSError(errno.EACCES, "Permission denied"),
        )
    ]
    place, remedy = tmp_path / "a" / "b", "free some, then give the same command again"
    full = f"{place}: 2.5 MB needed, {free} free: the disk is full; {remedy}"
    assert list(map(str, problems)) == [
        full,
        f"{place}: 2.5 MB needed, {free} free: the disk quota is used up; {remedy}",
        f"{place}: a file may not be so large here (2.5 MB needed); "
        "raise the limit (ulimit -f), or choose another output_dir",
        full,
        f"{place}: cannot be written (Permission denied)",
    ]


def test_only_what_the_system_refused_is_told_by_path(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="the disk is full"), told_by_path(tmp_path, needed=1):
        raise RuntimeError("No space left on device (os error 28)")
    with pytest.raises(RuntimeError, match="a bug"), told_by_path(tmp_path):
        raise RuntimeError("a bug")
    assert error_number(RuntimeError("a bug")) is None


def test_a_folder_that_cannot_be_opened_is_not_synced_and_no_error(tmp_path: Path) -> None:
    _closed.append(str(tmp_path))
    try:
        write_whole(tmp_path / "run.json", "{}")
    finally:
        _closed.clear()
    assert (tmp_path / "run.json").read_text() == "{}"


def test_a_new_folder_of_checkpoints_is_on_the_disk_where_nothing_was_logged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[Path] = []
    descriptors = Path("/proc/self/fd")
    monkeypatch.setattr(os, "fsync", lambda number: synced.append((descriptors / str(number)).readlink()))
    sync_history(tmp_path / "history.jsonl")
    assert synced == [tmp_path]
