"""Whether a run that exists may be gone on with under the settings and files now given.

Refuses a change that would make it another run, naming both values of every such setting. The length may grow,
but only where the learning rate of the steps already done does not depend on it.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from hfpipe.errors import CheckpointError, Problem

UNSET = "unset"
FILES_SHOWN = 10
SHA256_DIGITS, COMMIT_DIGITS, SHOWN_DIGITS = 64, 40, 12
ANEW = "set it back, or begin anew with fresh_start: true or another output_dir"
# Their rate after warm-up does not depend on the number of steps to come; DECAYING ones fall at the end of the run.
OPEN_ENDED_SCHEDULES = ("constant", "constant_with_warmup", "warmup_stable_decay", "step", "exponential")
DECAYING = "warmup_stable_decay"


def _unset(key: str) -> None:
    """Return the default of a setting of which nothing is known."""


@dataclass(frozen=True)
class Terms:
    """What is known of settings by flat key.

    `change_of` says identity, extendable, splitting, completing or free, `place_of` where the user set a key, and
    `default_of` what it is where nothing is said of it, as in the record of a version that did not know it.
    """

    change_of: Callable[[str], str]
    place_of: Callable[[str], str]
    default_of: Callable[[str], object] = _unset


def check_same_run(
    saved: Mapping[str, object],
    wanted: Mapping[str, object],
    *,
    terms: Terms,
    is_done: bool = False,
) -> tuple[str, ...]:
    """Return the keys that grew, as extendable and completing settings may; what `compare_settings` finds is raised.

    Raises:
        CheckpointError: If an identity setting differs, or an extendable one shrank or cannot grow here.
    """
    grown, problems = compare_settings(saved, wanted, terms=terms, is_done=is_done)
    if problems:
        raise CheckpointError(problems)
    return grown


def compare_settings(
    saved: Mapping[str, object],
    wanted: Mapping[str, object],
    *,
    terms: Terms,
    is_done: bool = False,
) -> tuple[tuple[str, ...], list[Problem]]:
    """Return the keys that grew, and a problem for each change that makes another run of it.

    `saved` and `wanted` are settings by flat key, and `is_done` says whether the saved run has reached its end. What
    splits a step may differ here: whether its rows stay the same is known when the processes are.
    """
    saved = {**{key: terms.default_of(key) for key in wanted if key not in saved}, **saved}
    change_of, place_of = terms.change_of, terms.place_of
    differing = find_changed(saved, wanted)
    changed = [key for key in differing if change_of(key) in ("identity", "extendable")]
    completed = [key for key in differing if change_of(key) == "completing" and wanted[key]]
    refusals = {
        key: _growth_refusal(key, saved, wanted, is_done=is_done)
        if change_of(key) == "extendable"
        else "another value than the run began with,"
        for key in changed
    }
    problems = [
        Problem(place_of(key), _show(wanted, key), f"{rule} {_show(saved, key)}", ANEW)
        for key, rule in refusals.items()
        if rule
    ]
    return (*(key for key, rule in refusals.items() if not rule), *completed), problems


def check_same_files(saved: Mapping[str, str], wanted: Mapping[str, str]) -> None:
    """Check that the files of data and model, fingerprints by name, are those the run began with.

    Raises:
        CheckpointError: If a file was changed, added or removed.
    """
    problems = [
        Problem(name, _short(wanted.get(name, "")), _file_change(name, saved, wanted), ANEW)
        for name in sorted(saved.keys() | wanted.keys())
        if saved.get(name) != wanted.get(name)
    ]
    if len(problems) > FILES_SHOWN:
        problems = [*problems[:FILES_SHOWN], Problem(f"and {len(problems) - FILES_SHOWN:,} more files", remedy=ANEW)]
    if problems:
        raise CheckpointError(problems)


def _file_change(name: str, saved: Mapping[str, str], wanted: Mapping[str, str]) -> str:
    if name not in saved:
        return "is not among what this run began with"
    if name not in wanted:
        return "this run began with it, and it is not given now"
    return f"its content is no longer what this run began with, {_short(saved[name])}"


def _short(fingerprint: str) -> str:
    """Return enough of a hash to compare by eye; a size is short already."""
    if len(fingerprint) == COMMIT_DIGITS:
        return fingerprint[:SHOWN_DIGITS]
    return f"sha256 {fingerprint[:SHOWN_DIGITS]}" if len(fingerprint) == SHA256_DIGITS else fingerprint


def find_changed(saved: Mapping[str, object], wanted: Mapping[str, object]) -> Sequence[str]:
    """Return the keys of either whose values differ; one that is not there is unset."""
    keys = [*wanted, *(key for key in saved if key not in wanted)]
    return [key for key in keys if _plain(saved.get(key)) != _plain(wanted.get(key))]


def _plain(value: object) -> object:
    """Return `value` as it comes back from JSON: a tuple and a list are the same setting."""
    return json.loads(json.dumps(value))


def _show(settings: Mapping[str, object], key: str) -> str:
    value = settings.get(key)
    return UNSET if value is None else json.dumps(value, ensure_ascii=False)


def _growth_refusal(key: str, saved: Mapping[str, object], wanted: Mapping[str, object], *, is_done: bool) -> str:
    """Return the rule that a change of `key` breaks, ending where the saved value follows; '' where it may grow."""
    old, new = saved.get(key), wanted.get(key)
    if not (isinstance(old, int | float) and isinstance(new, int | float) and new > old > 0):
        return "may only grow; the run began with"
    schedule = wanted.get("lr_scheduler_type")
    if schedule not in OPEN_ENDED_SCHEDULES:
        named = "the default schedule" if schedule is None else f"lr_scheduler_type '{schedule}'"
        return f"{named} spreads the learning rate over the whole run, which began with"
    if is_done and schedule == DECAYING:
        return f"the run is done and {DECAYING} has lowered its learning rate, which would jump up again; it began with"
    warmup = wanted.get("warmup_steps")
    if schedule != "constant" and isinstance(warmup, int | float) and 0 < warmup < 1:
        return f"warmup_steps {warmup} is a share of the whole run, which began with"
    return ""
