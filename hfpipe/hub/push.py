"""`hfpipe push`: a finished run, or a checkpoint of one that is not, to the Hub by hand.

It shows what travels and asks nothing. The settings of the run say where to, as far as the command does not; a run
that knew nothing of the Hub is pushed all the same. A finished run's top is always its finished model.
"""

import re
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hfpipe.errors import HubError, Problem
from hfpipe.hub.files import LAST_CHECKPOINT
from hfpipe.hub.prepare import (
    Naming,
    Prepared,
    find_final_step,
    is_card_edited,
    prepare_checkpoint,
    prepare_final,
    prepare_state,
)
from hfpipe.hub.repository import Target, limit_waiting, open_repository
from hfpipe.hub.uploads import Outcome
from hfpipe.hub.worker import push_prepared
from hfpipe.records.opening import read_run
from hfpipe.records.run_directory import CHECKPOINTS, RUN_FILE, list_checkpoints
from hfpipe.records.sessions import saved_settings
