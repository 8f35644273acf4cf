"""Fields of a model config set by the user, checked against the fields there are."""

import difflib
from collections.abc import Mapping

from huggingface_hub.errors import StrictDataclassError
from transformers import PreTrainedConfig

from hfpipe.errors import ConfigError, Problem


def apply_overrides(config: PreTrainedConfig, overrides: Mapping[str, object] | None) -> None:
    """Set each of `overrides` on `config`, in place, as the config class itself would take it.

    Raises:
        ConfigError: If a name is no field of this config or a value does not fit it.
    """
    known = set(config.to_dict()) | set(config.attribute_map)
    problems = []
    for name, value in (overrides or {}).items():
        if name not in known:
            close = difflib.get_close_matches(name, known, n=1)
            hint = f"did you mean '{close[0]}'?" if close else "see the model's config.json"
            problems.append(Problem("config_overrides", name, f"no field of a {config.model_type} config", hint))
            continue
        try:
            setattr(config, name, value)
        except (TypeError, ValueError, StrictDataclassError) as error:
            problems.append(Problem("config_overrides", f"{name}={value}", str(error).splitlines()[-1].strip()))
    if problems:
        raise ConfigError(problems)
