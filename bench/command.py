"""`python -m bench CASE`: reads the options, measures one case, prints it, and writes the numbers where asked.

How many threads compute has to be settled before torch is imported, so nothing of a case is imported above.
"""

import argparse
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from bench.cases import CASES
from bench.report import render, write_json
from hfpipe.errors import HfpipeError

THREAD_VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "RAYON_NUM_THREADS")
QUIET = {"HF_HUB_OFFLINE": "1", "HF_DATASETS_DISABLE_PROGRESS_BARS": "1", "TRANSFORMERS_NO_ADVISORY_WARNINGS": "1"}
ALL = "all"


def main(words: Sequence[str] | None = None) -> None:
    """Measure what the command line asks for."""
    words = sys.argv[1:] if words is None else words
    if "--list" in words:
        return print("\n".join(f"{name:16} {case.minutes:3} min  {case.compares}" for name, case in CASES.items()))
    name = next(iter(words), "")
    if name == ALL:
        return _measure_all(words[1:])
    if name not in CASES:
        raise SystemExit(
            f"python -m bench CASE: {name or 'no case'}: must be one of {', '.join([*CASES, ALL])}; see --list"
        )
    _settle_environment(words)
    return _measure(name, words[1:])


def _measure(name: str, words: Sequence[str]) -> None:
    case = CASES[name]
    parser = _shared_options(name, case.compares)
    case.add_options(parser)
    options = parser.parse_args(words)
    from bench.machine import describe_machine

    machine = describe_machine()
    print(f"{name}: {', '.join(f'{key} {value}' for key, value in machine.items())}\n", flush=True)
    began = time.monotonic()
    try:
        report = case.run(options)
    except HfpipeError as error:
        raise SystemExit(str(error)) from None
    print(render(report))
    print(f"\n{name}: {time.monotonic() - began:.0f} s; python -m bench {name} {' '.join(words)}", flush=True)
    if options.json is not None:
        write_json(options.json, name, options, machine, report)


def _measure_all(words: Sequence[str]) -> None:
    """Measure each case in a process of its own; numbers go to a file for each."""
    options = _shared_options(ALL, "every case, with the options that all share").parse_args(words)
    kept = [word for index, word in enumerate(words) if word != "--json" and words[index - 1] != "--json"]
    failed = []
    for name in CASES:
        file = options.json and options.json.with_name(f"{options.json.stem}-{name}.json")
        own = [name, *kept, *(["--json", str(file)] if file else [])]
        if subprocess.run([sys.executable, "-m", "bench", *own], check=False).returncode:
            failed.append(name)
        print(flush=True)
    if failed:
        raise SystemExit(f"not measured: {', '.join(failed)}; see above")


def _shared_options(name: str, description: str) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog=f"python -m bench {name}", description=description, allow_abbrev=False)
    parser.add_argument("--rounds", type=int, default=None, help="turns of each variant that count")
    parser.add_argument("--threads", type=int, default=None, help="threads that compute; all of them by default")
    parser.add_argument("--json", type=Path, default=None, help="a file for the numbers")
    parser.add_argument("--quick", action="store_true", help="tiny shapes and two rounds: does it run at all?")
    return parser


def _settle_environment(words: Sequence[str]) -> None:
    os.environ |= QUIET
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    parser.add_argument("--threads", type=int, default=None)
    threads = parser.parse_known_args(words)[0].threads
    if threads is not None:
        os.environ |= limit_threads(threads)


def limit_threads(threads: int) -> dict[str, str]:
    """Return the environment in which torch, and the tokenizers of both sides, compute in so many threads."""
    return {**dict.fromkeys(THREAD_VARIABLES, str(threads)), "TOKENIZERS_PARALLELISM": str(threads > 1).lower()}
