"""Checkpoints as an attacker would make them, and what a refusal of one says; nothing may be run on the way."""

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from pickle_watch import watching

from hfpipe.config import ModelSettings
from hfpipe.errors import HfpipeError
from hfpipe.models.causal import load_causal_lm
from hfpipe.models.tokenizers import load_tokenizer

PICKLE_RULE = "is pickle by its format, and reading one can run any code it carries"


class Bomb:
    """What unpickles by making a folder; it is here for the file alone, and no test may ever find the folder."""

    def __reduce__(self) -> tuple[Callable[..., None], tuple[str]]:
        return os.mkdir, ("unpickled",)


def change(path: Path, **values: Any) -> None:
    path.write_text(json.dumps({**json.loads(path.read_text()), **values}))


def load_all(folder: Path, **settings: Any) -> None:
    """Load tokenizer and model as a training does."""
    wanted = ModelSettings(model_name_or_path=str(folder), **settings)
    load_causal_lm(wanted, load_tokenizer(wanted), block_size=32)


def refusal(call: Callable[[], object]) -> str:
    """Return what the one problem of a refusal says; nothing was unpickled and no code run on the way."""
    with watching() as seen, pytest.raises(HfpipeError) as caught:
        call()
    assert seen == []
    assert not Path("unpickled").exists()
    (problem,) = caught.value.problems
    return str(problem)
