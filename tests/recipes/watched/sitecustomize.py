"""Python reads this file when it starts with this folder on its path: processes that a run starts watch themselves."""

import os

from pickle_watch import watch_to_file

watch_to_file(os.environ["PICKLE_WATCH"])
