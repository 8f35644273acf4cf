"""What a run pays for pushing while it trains: step times beside a Hub that answers, one that hangs, and none.

The Hub is the one of the tests; libraries read their endpoint when they are imported, so it is settled here.
"""

import os
import sys
from importlib import import_module
from pathlib import Path

sys.path[:0] = [str(Path(__file__).parents[2] / folder) for folder in ("tests", "tests/unit")]
import_module("offline")
os.environ |= {"HF_HUB_OFFLINE": "0", "HF_TOKEN": "hf_writes"}
