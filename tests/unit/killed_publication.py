"""Publishes a checkpoint over one of the same step, killed before each change of the file system in turn.

A process of its own forks for each kill: one that has loaded torch has threads, which a fork would lose. Prints what
the next start finds, as JSON: for each kill the entries of the folder, and the content of the checkpoint.
"""

import errno
import json
import os
import sys
import tempfile
from pathlib import Path

from hfpipe.records.manifest import Stamp, find_damage, seal
from hfpipe.records.publication import clean_leftovers, publish, staging_folder

CHANGES = ("os.rename", "os.remove", "os.mkdir", "os.rmdir", "shutil.rmtree")
STEP = 4
_left: list[int] = []
_refuses: list[bool] = [False]


def hook(event: str, arguments: tuple[object, ...]) -> None:
    """Die before one more change than was allowed; refuse to rename folders where the file system is to."""
    if not _left or event not in CHANGES:
        return
    if event == "os.rename" and _refuses[0] and Path(str(arguments[0])).is_dir():
        raise OSError(errno.EXDEV, "Invalid cross-device link")
    if _left[0] == 0:
        os._exit(9)
    _left[0] -= 1


def write_staged(checkpoints: Path, content: str) -> None:
    staging = staging_folder(checkpoints, STEP)
    staging.mkdir(parents=True)
    for name in ("model.safetensors", "optimizer.safetensors", "trainer_state.json"):
        (staging / name).write_text(f"{name} {content}")
    seal(staging, Stamp(STEP, 32, 1, 8, ""))


def publish_killed_after(checkpoints: Path, changes: int) -> int:
    """Return the exit code of a process that replaces the checkpoint and may make so many changes."""
    child = os.fork()
    if child == 0:
        _left.append(changes)
        publish(checkpoints, STEP)
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def try_at(changes: int) -> tuple[int, list[str], str]:
    with tempfile.TemporaryDirectory() as folder:
        checkpoints = Path(folder)
        write_staged(checkpoints, "old")
        publish(checkpoints, STEP)
        write_staged(checkpoints, "new")
        code = publish_killed_after(checkpoints, changes)
        clean_leftovers(checkpoints)
        target = checkpoints / f"checkpoint-{STEP}"
        damage = [str(problem) for problem in find_damage(target, step=STEP)]
        content = (target / "model.safetensors").read_text() if not damage else str(damage)
        return code, sorted(path.name for path in checkpoints.iterdir()), content


if __name__ == "__main__":
    _refuses[0] = sys.argv[1] == "refusing"
    sys.addaudithook(hook)
    found = [try_at(0)]
    while found[-1][0]:
        found.append(try_at(len(found)))
    sys.stdout.write(json.dumps(found))
