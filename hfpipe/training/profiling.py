"""`hfpipe profile`: a few steps of a run in this process, in a run directory that is gone afterwards.

The recipe runs as always, on the configuration of `config/profiling.py`, and is ended by what the steps raise. Refuses
what the run would refuse. Nothing is written but the trace, where one is asked for.
"""

import importlib.util
import logging
import tempfile
from collections.abc import Callable
from pathlib import Path

from hfpipe.config import RunConfig, find_recipe_module
from hfpipe.config.profiling import derive_profiled
from hfpipe.config.stepping import ProfileWindow
from hfpipe.errors import ConfigError, Problem
from hfpipe.training.step_profile import TRACE_FILE, Profiled, StepProfile


def profile_run(config: RunConfig, window: ProfileWindow, *, trace: Path | None = None) -> StepProfile:
    """Return what the steps of the run of `config` are made of; `trace` is a file for Perfetto.

    Raises:
        ConfigError: If the run is one of several processes.
        HfpipeError: What the run itself would raise.
    """
    wanted = config.training.num_processes
    if wanted is not None and wanted > 1:
        rule = "the steps of one process are profiled"
        raise ConfigError(Problem(config.place("num_processes"), f"{wanted:,}", rule, "add num_processes=1"))
    run = _load_recipe(config.recipe)
    with tempfile.TemporaryDirectory(prefix="hfpipe-profile-") as folder:
        directory = Path(folder) / "run"
        derived = derive_profiled(config, window, folder=directory)
        level = logging.getLogger("hfpipe").level
        logging.getLogger("hfpipe").setLevel(logging.WARNING)
        try:
            run(derived)
        except Profiled as ended:
            if trace is not None:
                trace.write_bytes((directory / TRACE_FILE).read_bytes())
            return ended.found
        finally:
            logging.getLogger("hfpipe").setLevel(level)
    raise AssertionError("the last of its steps ends such a run")


def _load_recipe(name: str) -> Callable[[RunConfig], None]:
    """Return the `run` of a recipe, which is found by path as a launcher does."""
    specification = importlib.util.spec_from_file_location(name, find_recipe_module(name))
    assert specification is not None and specification.loader is not None, "a recipe is a Python file"
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    run: Callable[[RunConfig], None] = module.run
    return run
