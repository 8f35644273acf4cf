"""Lets `python -m bench.hub_stall` run: the case of this name."""

import sys

from bench.command import main

if __name__ == "__main__":
    main(["hub_stall", *sys.argv[1:]])
