"""Where hfpipe keeps what it can make again: token ids shared between runs, and texts while a run reads them.

The folder is `HFPIPE_CACHE`; without it `hfpipe` in `cache_dir`, if a run sets that, else in Hugging Face's own cache
(`HF_HOME`), so a cluster that has moved one has moved both. All of it may be deleted when no run is at work.
"""

import os
from pathlib import Path

from huggingface_hub import constants

VARIABLE = "HFPIPE_CACHE"
FOLDER = "hfpipe"


def find_cache(cache_dir: str | None = None) -> Path:
    """Return the cache folder of a run with this setting `cache_dir`; it may not be there yet."""
    named = os.environ.get(VARIABLE)
    if named:
        return Path(named).expanduser()
    return Path(cache_dir or constants.HF_HOME).expanduser() / FOLDER
