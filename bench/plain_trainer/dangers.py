"""What a checkpoint can do to its reader, and what it tells of its writer: pickle, tokens, weights from elsewhere."""

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

from bench.plain_trainer import ours, tiny
from bench.plain_trainer.plain import build_plain, plain_arguments, train_plain
from bench.plain_trainer.table import Finding
from bench.plain_trainer.workshop import Case, Workshop, feed
from hfpipe.config import ModelSettings
from hfpipe.errors import ConfigError
from hfpipe.models.sources import find_checkpoint
from hfpipe.pickles import begins_so

TOKEN = "hf_" + "canary0123" * 3


def compare_dangers(workshop: Workshop) -> list[Finding]:
    """Return what the checkpoints of one run hold on either side, and whether weights outside a folder are loaded."""
    case = workshop.classifier("bert")
    plain, our = _train_plain(workshop, case), _train_ours(workshop, case)
    pickled = [_find(each, begins_so) for each in (plain, our)]
    telling = [_find(each, lambda content: TOKEN.encode() in content) for each in (plain, our)]
    return [
        Finding(
            "files of a run that are pickle (difference: their number)",
            f"{len(pickled[0])}: {', '.join(sorted({path.name for path in pickled[0]}))}; resuming reads the state",
            f"{len(pickled[1])}",
            *(float(len(found)) for found in pickled),
        ),
        Finding(
            "files of a run that hold the token of the Hub (difference: their number)",
            f"{len(telling[0])}: {', '.join(sorted({path.name for path in telling[0]}))}",
            f"{len(telling[1])}; hub_token is refused, HF_TOKEN is not written",
            *(float(len(found)) for found in telling),
        ),
        _compare_maps(workshop, case),
    ]


def _train_plain(workshop: Workshop, case: Case) -> Path:
    data = feed(workshop, case, "feed-dangers")
    directory = workshop.run("plain-dangers")
    args = plain_arguments(directory, save_strategy="epoch", hub_token=TOKEN, num_train_epochs=1)
    train_plain(build_plain(case.model(), args, data.tokenizer, train=data.train))
    return directory


def _train_ours(workshop: Workshop, case: Case) -> Path:
    directory = workshop.run("dangers")
    before = os.environ.get("HF_TOKEN")
    os.environ["HF_TOKEN"] = TOKEN
    try:
        ours.assemble(case.config(directory, save_strategy="epoch", num_train_epochs=1)).train()
    finally:
        os.environ.pop("HF_TOKEN")
        os.environ |= {} if before is None else {"HF_TOKEN": before}
    return directory


def _find(directory: Path, has: Callable[[bytes], bool]) -> list[Path]:
    return [path for path in sorted(directory.rglob("*")) if path.is_file() and has(path.read_bytes())]


def _compare_maps(workshop: Workshop, case: Case) -> Finding:
    """Load a checkpoint whose map of weights names a file beside its folder, which is there."""
    folder = Path(shutil.copytree(case.checkpoint, workshop.folder / "led_out" / "model"))
    shutil.move(folder / "model.safetensors", folder.parent / "elsewhere.safetensors")
    names = list(case.model().state_dict())
    index = {"metadata": {}, "weight_map": dict.fromkeys(names, "../elsewhere.safetensors")}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    tiny.load_checkpoint(folder, causal_lm=False)
    message = "loaded"
    try:
        find_checkpoint(ModelSettings(model_name_or_path=str(folder)), with_weights=True)
    except ConfigError as error:
        message = "refused: " + error.problems[0].rule
    return Finding(
        "a map of weights that leads out of the checkpoint's folder (difference: loads)",
        "loaded without a word",
        message,
        1.0,
        float(message == "loaded"),
    )
