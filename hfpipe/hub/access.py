"""The access token of a run that is to push: looked for before anything takes time, without asking the Hub."""

from huggingface_hub import get_token

from hfpipe.config import RunConfig
from hfpipe.errors import ConfigError, Problem
from hfpipe.hub.answers import LOG_IN


def check_token(config: RunConfig) -> None:
    """Refuse a run that is to push where nobody is logged in.

    Raises:
        ConfigError: If there is no access token.
    """
    if config.hub.push_to_hub and get_token() is None:
        rule = "pushing needs an access token, and there is none"
        raise ConfigError(Problem(config.place("push_to_hub"), "true", rule, LOG_IN))
