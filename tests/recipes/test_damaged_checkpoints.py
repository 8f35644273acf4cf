"""A checkpoint that is not as it was written is found out, named and set aside, and the run ends in the same bits."""

import random
import shutil
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from crash_runs import Run, describe_outcome, find_unlike
from kill_points import Kill, kill_at
from trials import KILLED, run_trial

from hfpipe.records.manifest import MANIFEST_FILE
from hfpipe.records.resumption import find_resumption
from hfpipe.records.run_directory import LOCK_FILE

SEED = 20261122
DAMAGES, RESUMED, ALL_RESUMED = 200, 3, 40
PAGE = 4096
Change = Mapping[Path, bytes | None]


@dataclass(frozen=True)
class Damage:
    """What files of a checkpoint are instead of what they were; None for one that is gone."""

    kind: str
    files: Change

    def apply(self) -> Change:
        """Do it and return what the files were."""
        before = {path: path.read_bytes() for path in self.files}
        write(self.files)
        return before


def write(files: Change) -> None:
    for path, content in files.items():
        if content is None:
            path.unlink()
        else:
            path.write_bytes(content)


@pytest.fixture(scope="module")
def long_run(runs: Callable[[str], Run], tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A run that keeps all its checkpoints, gone through once."""
    run = runs("classifier-1")
    folder = tmp_path_factory.mktemp("long") / "straight"
    kept = replace(run, settings={**run.settings, "save_total_limit": 9}, straight=folder)
    ending = run_trial(**kept.start_options(folder))
    assert ending.codes == (0,), ending.output
    return kept


@pytest.fixture(scope="module")
def killed_run(long_run: Run, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same run, killed when training had ended; it is not to be changed but for a moment."""
    folder = tmp_path_factory.mktemp("killed")
    arguments = (long_run.window(folder / "run", "end"), Kill(1), folder)
    ending = run_trial(**long_run.start_options(folder / "run"), prepare=kill_at, prepare_arguments=arguments)
    assert ending.codes == (KILLED,), ending.output
    return folder / "run"


def draw_damage(rng: random.Random, newest: Path, other: Path) -> Damage:
    """Return a random damage to the checkpoint `newest`; `other` is an earlier one."""
    path, second = rng.sample(sorted(each for each in newest.iterdir() if each.is_file()), 2)
    content, kind = path.read_bytes(), rng.choice(("flip", "truncate", "zero", "delete", "swap", "exchange"))
    changed: dict[Path, bytes | None] = {path: None}
    if kind == "flip":
        changed[path] = flip(content, rng.randrange(8 * len(content)))
    elif kind == "truncate":
        changed[path] = content[: rng.randrange(len(content))]
    elif kind == "zero":
        start = rng.randrange(0, len(content), PAGE)
        changed[path] = content[:start] + bytes(len(content[start : start + PAGE])) + content[start + PAGE :]
    elif kind == "swap":
        changed = {path: second.read_bytes(), second: content}
    elif kind == "exchange":
        changed[path] = (other / path.name).read_bytes()
    if changed[path] == content:  # a page of zeros, or a file that is the same in every checkpoint
        return draw_damage(rng, newest, other)
    return Damage(kind, changed)


def flip(content: bytes, bit: int) -> bytes:
    return content[: bit // 8] + bytes([content[bit // 8] ^ 1 << bit % 8]) + content[bit // 8 + 1 :]


def find_checkpoints(run: Path) -> Sequence[Path]:
    """Return the newest checkpoint and the one before it."""
    steps = sorted(int(each.name.partition("-")[2]) for each in (run / "checkpoints").glob("checkpoint-*"))
    assert len(steps) >= 4
    return [run / "checkpoints" / f"checkpoint-{step}" for step in (steps[-1], steps[-2])]


def test_every_damage_is_found_and_named_and_the_checkpoint_before_is_used(killed_run: Path) -> None:
    newest, before = find_checkpoints(killed_run)
    checkpoints, rng = newest.parent, random.Random(SEED)
    assert find_resumption(checkpoints, None, config=None, needs_best=True).folder == newest
    kinds, names, missed = Counter[str](), Counter[str](), []
    for _ in range(DAMAGES):
        damage = draw_damage(rng, newest, before)
        whole = damage.apply()
        found = find_resumption(checkpoints, None, config=None, needs_best=True)
        told = "; ".join(found.lines())
        # nothing else is said of a checkpoint whose manifest cannot be trusted
        named = [newest / MANIFEST_FILE] if newest / MANIFEST_FILE in damage.files else list(damage.files)
        if found.folder != before or not all(str(path) in told for path in named):
            missed.append(f"{damage.kind} {sorted(path.name for path in damage.files)}: {found.folder}: {told}")
        write(whole)
        kinds[damage.kind] += 1
        names.update(path.name for path in damage.files)
    assert not missed, "\n".join(missed)
    assert sum(kinds.values()) == DAMAGES
    assert min(kinds.values()) >= DAMAGES // 12
    assert names.keys() == {path.name for path in newest.iterdir()}
    assert find_resumption(checkpoints, None, config=None, needs_best=True).folder == newest


def resume_damaged(run: Run, killed: Path, target: Path, rng: random.Random) -> str:
    """Damage a copy of a killed run, give the command again, and return what is wrong with its end."""
    shutil.copytree(killed, target)
    newest, before = find_checkpoints(target)
    damage = draw_damage(rng, newest, before)
    damage.apply()
    ending = run_trial(**run.start_options(target))
    told = f"{newest.name} cannot be gone on from"
    if ending.codes != (0,) or told not in ending.output:
        return f"{damage.kind} {sorted(damage.files)}: ended with {ending.codes}: {ending.output[-600:]}"
    aside = newest.parent / "set_aside" / newest.name
    assert aside.is_dir()
    shutil.rmtree(aside.parent)
    unlike = find_unlike(target, describe_outcome(run.straight))
    return f"{damage.kind} {sorted(damage.files)}: {unlike}" if unlike else ""


@pytest.mark.parametrize("count", [RESUMED, pytest.param(ALL_RESUMED, marks=pytest.mark.slow)])
def test_a_run_whose_newest_checkpoint_is_damaged_ends_in_the_same_bits(
    count: int, long_run: Run, killed_run: Path, tmp_path: Path
) -> None:
    rng = random.Random(f"{SEED} {count}")
    found = [resume_damaged(long_run, killed_run, tmp_path / f"run_{index}", rng) for index in range(count)]
    wrong = [each for each in found if each]
    assert not wrong, "\n".join(wrong)


def test_where_every_checkpoint_is_damaged_the_run_is_refused_and_nothing_is_removed(
    long_run: Run, killed_run: Path, tmp_path: Path
) -> None:
    target = tmp_path / "run"
    shutil.copytree(killed_run, target)
    damaged = sorted(target.glob("checkpoints/checkpoint-*/optimizer.safetensors"))
    for path in damaged:
        path.write_bytes(flip(path.read_bytes(), 8 * path.stat().st_size - 1))
    before = read_all(target)
    ending = run_trial(**long_run.start_options(target))
    assert ending.codes == (2,)
    assert not ending.traceback
    assert len(damaged) == 5
    assert "the run directory has 5 problems:" in ending.output
    for path in damaged:
        assert (
            f"  - {path}: its content is not what was written; put the files back as they were saved" in ending.output
        )
    assert read_all(target) == before


def read_all(folder: Path) -> dict[Path, bytes]:
    """Return every file of a run, without the lock that names the process that looked."""
    files = (path for path in folder.rglob("*") if path.is_file() and path.name != LOCK_FILE)
    return {path: path.read_bytes() for path in files}
