"""Folders that are ready to be pushed: each file linked, or rewritten as the world may see it, and the card rendered.

A folder holds one commit, in the layout of the repository, and is immune to what the run does next: a checkpoint that
is rotated away lives on in it. Links cost no space; JSON is copied without the paths of this machine.
"""

import hashlib
import json
import os
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from huggingface_hub import get_token

from hfpipe.errors import Problem
from hfpipe.evaluation.record import EVALUATION_FILE, read_evaluation
from hfpipe.hub.card import render_card
from hfpipe.hub.card_facts import THIS_FOLDER, CardFacts, find_base_model
from hfpipe.hub.files import (
    ADAPTER,
    BEST_CHECKPOINT,
    CARD,
    CONFUSION,
    LAST_CHECKPOINT,
    RELIABILITY,
    TOP,
    check_named,
    is_allowed,
    is_model_file,
    list_files,
)
from hfpipe.hub.repository import Upload
from hfpipe.hub.scrubbing import scrub, scrub_record
from hfpipe.records.durable import write_whole
from hfpipe.records.inference_settings import INFERENCE_FILE
from hfpipe.records.manifest import MANIFEST_FILE, Manifest, hash_file, read_manifest
from hfpipe.records.manifest import list_files as list_manifest_files
from hfpipe.records.run_directory import (
    CHECKPOINTS,
    HISTORY_FILE,
    METRICS_FILE,
    RUN_FILE,
    checkpoint_folder,
    read_history,
    read_json,
    step_of,
    write_json,
)

# Becomes owner/name where the card is written into a commit: only the Hub knows whose the token is.
REPOSITORY = "hfpipe-fills-in/the-repository"
ADAPTER_CONFIG = "adapter_config.json"
# Texts in a tokenizer may look like paths and are none; these files alone can hold paths.
_WITH_PATHS = (
    *("config.json", "generation_config.json", "tokenizer_config.json", ADAPTER_CONFIG),
    *("trainer_state.json", INFERENCE_FILE),
)
_CARD_KEY = "card_sha256"
LABEL_EXAMPLES = "label_examples"


@dataclass(frozen=True)
class Prepared:
    """A commit that is ready, and its card for those who may see a private repository and for everybody."""

    upload: Upload
    step: int
    private_card: str
    public_card: str

    def write_card(self, repository: str, *, private: bool) -> None:
        """Put the card into the folder of the commit, where it has a top."""
        if TOP not in self.upload.folders:
            return
        text = self.private_card if private else self.public_card
        (self.upload.folder / CARD).write_text(text.replace(REPOSITORY, repository), encoding="utf-8")


@dataclass(frozen=True)
class Naming:
    """What the repository is called in a card, and the branch if it is not the main one."""

    name: str
    revision: str | None = None


def write_card(run_dir: Path) -> None:
    """Write the card of a finished run into its directory, and note its content: one that is edited is kept."""
    run = read_json(run_dir / RUN_FILE)
    facts = _final_facts(run_dir, run)
    text = render_card(CardFacts(**facts, name=run_dir.resolve().name, model_id=THIS_FOLDER, examples=_examples(run)))
    write_whole(run_dir / CARD, text)
    write_json(run_dir / RUN_FILE, {**run, _CARD_KEY: _hash(text)})


def is_card_edited(run_dir: Path) -> bool:
    """Tell whether somebody wrote a card of their own, or changed the run's."""
    card = run_dir / CARD
    known = read_json(run_dir / RUN_FILE).get(_CARD_KEY)
    return card.is_file() and _hash(card.read_text(encoding="utf-8")) != known


def find_final_step(run_dir: Path) -> int:
    """Return the step whose weights a finished run kept: the best one, or the last."""
    run = read_json(run_dir / RUN_FILE)
    keeps_best = run["config"]["load_best_model_at_end"]["value"]
    return int((run.get("best_step") if keeps_best else None) or run["steps"])


def prepare_final(run_dir: Path, folder: Path, *, naming: Naming, tag: str | None = None) -> Prepared:
    """Return the finished model of a run as a commit in `folder`, which is made anew.

    Raises:
        HubError: If a file that would travel must not.
    """
    run = read_json(run_dir / RUN_FILE)
    paths = [path for path in list_files(run_dir) if "/" not in path or path.startswith(f"{ADAPTER}/")]
    _fill(run_dir, folder, [path for path in paths if path != CARD])
    _name_base_model(run, folder)
    facts = _final_facts(run_dir, run)
    private, public = _render_both(facts, run, naming)
    if is_card_edited(run_dir):
        check_named(run_dir, [CARD], token=get_token())
        private = public = (run_dir / CARD).read_text(encoding="utf-8")
    step = int(facts["step"])
    upload = Upload(folder, f"Finished model, step {step:,}", (TOP, ADAPTER), tag)
    return Prepared(upload, step, private, public)


def prepare_checkpoint(
    run_dir: Path, step: int, folder: Path, *, naming: Naming, state_folder: str | None = None, tag: str | None = None
) -> Prepared:
    """Return the weights of a checkpoint as a commit in `folder`, which is made anew.

    With `state_folder` the whole checkpoint is in there too, so that the run can go on from it elsewhere; as the last
    one it brings the best one along, whose weights the end of the run may need.

    Raises:
        HubError: If a file that would travel must not.
    """
    run = read_json(run_dir / RUN_FILE)
    checkpoint = checkpoint_folder(run_dir / CHECKPOINTS, step)
    _fill(checkpoint, folder, [path.name for path in sorted(checkpoint.iterdir()) if is_model_file(path.name)])
    if (run_dir / INFERENCE_FILE).is_file():
        _place(run_dir / INFERENCE_FILE, folder / INFERENCE_FILE)
    _cut_history(run_dir, folder, step)
    facts = _checkpoint_facts(run, folder, step)
    _write_json(folder / METRICS_FILE, facts["metrics"])
    folders: tuple[str, ...] = (TOP, ADAPTER)
    if state_folder is not None:
        folders = (*folders, *_add_states(run_dir, run, folder, step=step, name=state_folder))
    _name_base_model(run, folder)
    # the top of the branch has other weights soon; those that the card speaks of stay at their tag
    private, public = _render_both(facts, run, replace(naming, revision=tag or naming.revision))
    return Prepared(Upload(folder, f"Step {step:,}", folders, tag), step, private, public)


def prepare_state(run_dir: Path, step: int, folder: Path, *, tag: str | None = None) -> Prepared:
    """Return a checkpoint as a commit that adds its folder and leaves the top alone.

    Raises:
        HubError: If a file that would travel must not.
    """
    shutil.rmtree(folder, ignore_errors=True)
    name = checkpoint_folder(run_dir, step).name
    run = read_json(run_dir / RUN_FILE)
    folders = _add_states(run_dir, run, folder, step=step, name=name)
    _name_base_model(run, folder)
    return Prepared(Upload(folder, f"Checkpoint of step {step:,}", folders, tag), step, "", "")


def _add_states(run_dir: Path, run: Mapping[str, Any], folder: Path, *, step: int, name: str) -> tuple[str, ...]:
    """Add the checkpoint of a step as the folder `name`, and return the folders the commit decides about."""
    checkpoint = checkpoint_folder(run_dir / CHECKPOINTS, step)
    _add_state(run_dir, run, checkpoint, folder / name)
    if name != LAST_CHECKPOINT:
        return (name,)
    best = read_json(checkpoint / "trainer_state.json").get("best_global_step")
    if best is not None and best != step:
        _add_state(run_dir, run, checkpoint_folder(run_dir / CHECKPOINTS, best), folder / BEST_CHECKPOINT)
    return (LAST_CHECKPOINT, BEST_CHECKPOINT)


def _fill(source: Path, folder: Path, paths: Sequence[str]) -> None:
    check_named(source, paths, token=get_token())
    shutil.rmtree(folder, ignore_errors=True)
    for path in paths:
        _place(source / path, folder / path)


def _place(source: Path, target: Path) -> None:
    """Link or copy a file; one that can hold paths is rewritten without them."""
    target.parent.mkdir(parents=True, exist_ok=True)
    if source.name in _WITH_PATHS:
        _write_json(target, scrub(read_json(source)))
        return
    try:
        os.link(source, target)
    except OSError:  # another file system, or one without links
        shutil.copyfile(source, target)


def _add_state(run_dir: Path, run: Mapping[str, Any], checkpoint: Path, folder: Path) -> None:
    paths = [path.name for path in checkpoint.iterdir() if path.name != MANIFEST_FILE]
    names = [name for name in paths if is_allowed(f"{LAST_CHECKPOINT}/{name}")]
    _fill(checkpoint, folder, sorted(names))
    _name_base_model(run, folder)
    _seal(checkpoint, folder)
    _write_json(folder / RUN_FILE, scrub_record(run))
    _cut_history(run_dir, folder, step_of(checkpoint))


def _seal(checkpoint: Path, folder: Path) -> None:
    """Give the copy of a checkpoint its own manifest: rewritten files are hashed anew, and weights are not."""
    manifest = read_manifest(checkpoint)
    if isinstance(manifest, Problem):  # it was no checkpoint to go on from here either
        return
    files = {
        name: hash_file(folder / name) if name in _WITH_PATHS else manifest.files[name]
        for name in list_manifest_files(folder)
        if name in manifest.files
    }
    (folder / MANIFEST_FILE).write_bytes(Manifest(manifest.stamp, files).render())


def _name_base_model(run: Mapping[str, Any], folder: Path) -> None:
    """Let each adapter name its base as the Hub knows it; of a folder not even the name: it may be another model's."""
    for file in folder.rglob(ADAPTER_CONFIG):
        _write_json(file, {**read_json(file), "base_model_name_or_path": find_base_model(run)})


def _write_json(path: Path, value: object) -> None:
    """Write JSON; a folder that waits to be pushed need not survive a power cut, and waiting for a disk takes time."""
    path.write_text(json.dumps(value, indent=1, ensure_ascii=False, allow_nan=False) + "\n", encoding="utf-8")


def _cut_history(run_dir: Path, folder: Path, step: int) -> None:
    events = [event for event in read_history(run_dir / HISTORY_FILE) if event["step"] <= step]
    if events:
        lines = "".join(json.dumps(event, ensure_ascii=False) + "\n" for event in events)
        (folder / HISTORY_FILE).write_text(lines, encoding="utf-8")


def _final_facts(run_dir: Path, run: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "run": run,
        "metrics": read_json(run_dir / METRICS_FILE),
        "history": read_history(run_dir / HISTORY_FILE),
        "step": find_final_step(run_dir),
        # a run of an earlier version has none
        "evaluation": read_evaluation(run_dir) if (run_dir / EVALUATION_FILE).is_file() else None,
        "pictures": [name for name in (CONFUSION, RELIABILITY) if (run_dir / name).is_file()],
    }


def _checkpoint_facts(run: Mapping[str, Any], folder: Path, step: int) -> dict[str, Any]:
    """Return what is known of the weights of a step: the evaluation that was made at it, if any."""
    history = read_history(folder / HISTORY_FILE)
    metrics = {
        name: value
        for event in history
        if event["step"] == step
        for name, value in event.items()
        if name.startswith("eval_")
    }
    return {
        "run": run,
        "metrics": metrics,
        "history": history,
        "step": step,
        "is_finished": False,
        "is_adapter": (folder / ADAPTER_CONFIG).is_file(),
    }


def _render_both(facts: Mapping[str, Any], run: Mapping[str, Any], naming: Naming) -> tuple[str, str]:
    """Return the card for a private repository and for a public one, which may quote fewer texts."""
    named = {**facts, "name": naming.name, "model_id": REPOSITORY, "revision": naming.revision}
    private = render_card(CardFacts(**named, examples=_examples(run)))
    public = render_card(CardFacts(**named, examples=_examples(run, is_public=True)))
    return private, public


def _examples(run: Mapping[str, Any], *, is_public: bool = False) -> Sequence[tuple[str, str]]:
    """Return the texts to quote: by the setting, and without one the user's own texts in private alone."""
    wanted = run["config"].get("card_examples", {}).get("value")
    is_own = run["config"].get("dataset_name", {}).get("value") is None
    shows = not (is_public and is_own) if wanted is None else bool(wanted)
    return [(label, text) for label, text in run.get(LABEL_EXAMPLES, ())] if shows else ()


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
