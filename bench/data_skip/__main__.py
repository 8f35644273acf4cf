"""Lets `python -m bench.data_skip` run: the case of this name."""

import sys

from bench.command import main

if __name__ == "__main__":
    main(["data_skip", *sys.argv[1:]])
