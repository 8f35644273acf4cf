"""The commits of a run on the Hub, as `run.json` keeps them."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from hfpipe.records.run_directory import RUN_FILE, read_json
from hfpipe.records.sessions import add_facts

PUSHES = "pushes"
_NOT_KEPT = ("url", "private", "on_top_of")


@dataclass(frozen=True)
class Pushed:
    """A commit that was made. `on_top_of` is the title of a commit of others that it follows, if any."""

    step: int
    commit: str
    repository: str
    url: str
    private: bool
    revision: str
    tag: str | None
    is_final: bool
    on_top_of: str | None = None


def record_push(run_dir: Path, pushed: Pushed) -> None:
    """Write into the record of a run which commit holds which step; once, however often it is told."""
    facts = {key: value for key, value in asdict(pushed).items() if key not in _NOT_KEPT}
    known = list_pushes(run_dir)
    if facts not in known:
        add_facts(run_dir, {PUSHES: [*known, facts]})


def list_pushes(run_dir: Path) -> list[Mapping[str, Any]]:
    """Return the commits that hold something of a run, oldest first."""
    pushes: list[Mapping[str, Any]] = read_json(run_dir / RUN_FILE).get(PUSHES, [])
    return pushes


def is_final_pushed(run_dir: Path, step: int) -> bool:
    """Tell whether a commit holds the finished model, whose weights are those of `step`."""
    return any(pushed["is_final"] and pushed["step"] == step for pushed in list_pushes(run_dir))
