"""The names labels go by: the user's, which must be complete, or those a data set brings along."""

from collections.abc import Mapping, Sequence

from hfpipe.data.findings import Findings
from hfpipe.data.record_stream import shorten
from hfpipe.errors import Problem


def name_labels(values: tuple[str, ...], named: Mapping[str, str], findings: Findings) -> tuple[str, ...]:
    """Return the names of `values`, as `named` says; labels without a name and names without a label are refused."""
    for value in values:
        if value not in named:
            remedy = f"add {value}=<name>; named are {list_labels(list(named))}"
            problem = Problem("label_names", f"no name for label {value!r}", "all are named", remedy)
            findings.add("settings", "", problem)
    for value in named:
        if value not in values:
            rule = f"the labels of the training part are {list_labels(values)}"
            findings.add("settings", "", Problem(f"label_names: {value}", "no such label", rule))
    names = tuple(named.get(value, value) for value in values)
    _check_unique(names, findings)
    return names


def name_brought(values: tuple[str, ...], brought: Mapping[str, str], findings: Findings) -> tuple[str, ...]:
    """Return the names of `values` in a data set; classes that have no row, and labels without a name, are noted."""
    absent = [name for value, name in brought.items() if value not in values]
    if absent:
        noun, verb = ("class", "has") if len(absent) == 1 else ("classes", "have")
        findings.note(f"{noun} {list_labels(absent)} of the data set {verb} no row")
    nameless = [value for value in values if brought and value not in brought]
    if nameless:
        findings.note(f"the data set has no name for the labels {list_labels(nameless)}")
    names = tuple(brought.get(value, value) for value in values)
    _check_unique(names, findings)
    return names


def list_labels(values: Sequence[str]) -> str:
    """Return labels quoted for a message, the first eight of many and their number."""
    shown = ", ".join(map(shorten, values[:8]))
    return shown if len(values) <= 8 else f"{shown}, ... ({len(values):,} in all)"


def _check_unique(names: Sequence[str], findings: Findings) -> None:
    for name in dict.fromkeys(name for name in names if names.count(name) > 1):
        problem = Problem("label_names", f"{name!r} names {names.count(name)} labels", "names are unique")
        findings.add("settings", "", problem)
