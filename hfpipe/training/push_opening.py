"""What is settled about pushing before the first step: where to, and that there is a token which may write there.

A run that begins is refused where it could never push. One that goes on is not: what is in its way then, such as a
token that has expired, may be mended while it trains.
"""

import logging

from huggingface_hub import get_token

from hfpipe.config import RunConfig
from hfpipe.errors import ConfigError, HubError, Problem
from hfpipe.hub.access import check_token
from hfpipe.hub.answers import LOG_IN, HubUnreachable
from hfpipe.hub.prepare import find_final_step
from hfpipe.hub.push import find_default_name
from hfpipe.hub.pushed import is_final_pushed
from hfpipe.hub.repository import Target, find_account, find_visibility
from hfpipe.hub.spool import Spool
from hfpipe.training.pushing import RunPusher, tell_public

logger = logging.getLogger(__name__)

SECONDS_AT_START = 5.0


def open_pusher(config: RunConfig, *, goes_on: bool = False) -> RunPusher | None:
    """Return what pushes this run, None where nothing is to be pushed.

    A run that `goes_on` was once allowed to: where its token has expired meanwhile, that is told, and the run goes on.

    Raises:
        ConfigError: If there is no access token, or the Hub says that it may not be used for this.
    """
    if not config.hub.push_to_hub:
        return None
    name = config.hub.hub_model_id or find_default_name(config.output_dir)
    check_token(config)
    try:
        name = _check_access(config, name)
    except HubUnreachable as error:
        logger.warning("%s; training begins, and what is to be pushed is kept until it can be", error.problems[0])
    except HubError as error:
        if not goes_on:
            raise ConfigError(error.problems) from error
        logger.warning("%s; the run goes on, and what is to be pushed is kept until it can be", error.problems[0])
    return RunPusher(config, Target(name, config.hub.hub_private_repo, config.hub.hub_revision))


def open_rest_pusher(config: RunConfig) -> RunPusher | None:
    """Return what pushes the rest of a run that is done; None where nothing is left, or nobody is logged in."""
    directory = config.output_dir
    if not config.hub.push_to_hub:
        return None
    if not Spool(directory).list_entries() and is_final_pushed(directory, find_final_step(directory)):
        return None
    if get_token() is None:
        logger.warning("not all of the run is on the Hub, and there is no access token: %s", LOG_IN)
        return None
    name = config.hub.hub_model_id or find_default_name(directory)
    return RunPusher(config, Target(name, config.hub.hub_private_repo, config.hub.hub_revision))


def _check_access(config: RunConfig, name: str) -> str:
    """Return the repository's full name, once nothing is known to speak against pushing there."""
    account = find_account(seconds=SECONDS_AT_START)
    if account.only_reads:
        raise HubError(Problem(config.place("push_to_hub"), "true", "the access token may only read", LOG_IN))
    full_name = name if "/" in name else f"{account.name}/{name}"
    if not account.owns(full_name):
        # no refusal: what a token with few rights is told of its organizations may not be all
        owner = full_name.partition("/")[0]
        logger.warning(
            "%s %s: the access token is that of %s, who is not known to belong to %s: the Hub may refuse the push",
            *(config.place("hub_model_id"), full_name, account.name, owner),
        )
    if config.hub.hub_private_repo and find_visibility(full_name, seconds=SECONDS_AT_START) is False:
        tell_public(full_name)
    return full_name
