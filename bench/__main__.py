"""Lets `python -m bench` run."""

from bench.command import main

if __name__ == "__main__":
    main()
