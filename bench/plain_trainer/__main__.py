"""Lets `python -m bench.plain_trainer` run: the case of this name."""

import sys

from bench.command import main

if __name__ == "__main__":
    main(["plain_trainer", *sys.argv[1:]])
