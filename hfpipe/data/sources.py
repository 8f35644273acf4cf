"""Which files make up the training, validation and test part.

A setting names files, folders (searched recursively, in order, without hidden files) and globs. A
name that matches nothing, or a file named twice, is refused: a part must be what its setting says.
"""

import difflib
import glob
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from hfpipe.config.sections import DataSettings
from hfpipe.data.demo_reviews import DEMO_NAME, LABEL_NAMES, demo_file, is_demo_test, is_demo_train
from hfpipe.data.findings import Findings
from hfpipe.data.record_stream import Record, SourceFile, format_suffix
from hfpipe.data.records import DELIMITED_SUFFIXES, SUFFIXES, TEXT_SUFFIXES, file_problem, suffix_problem
from hfpipe.errors import Problem

_FILE_KEYS = ("train_file", "validation_file", "test_file")
# what `datasets` writes beside the rows of a data set; the caches hold the same rows once more
_DESCRIPTIONS = ("dataset_info.json", "dataset_infos.json", "dataset_dict.json", "state.json")
_CACHES = "cache-*.arrow"


@dataclass(frozen=True)
class PartSource:
    """The files of one part, and which of their records belong to it (None: all)."""

    key: str
    files: tuple[SourceFile, ...]
    keep: Callable[[Record], bool] | None = None


@dataclass(frozen=True)
class Sources:
    """Where each part comes from; `label_names` are those a named data set brings along."""

    train: PartSource
    validation: PartSource | None
    test: PartSource | None
    label_names: tuple[tuple[str, str], ...] = ()


def find_sources(
    settings: DataSettings, findings: Findings, *, labelled: bool = True, cache_dir: str | None = None
) -> Sources:
    """Return the files of each part; what is missing or named twice goes to `findings`.

    A data set of the Hub is downloaded to `cache_dir`; `labelled` tells whether its labels matter.
    """
    if settings.dataset_name is not None:
        return _named_data_set(settings, findings, labelled=labelled, cache_dir=cache_dir)
    if not settings.train_file:
        problem = Problem("train_file", "not set", "", f"set train_file, or dataset_name: {DEMO_NAME}")
        findings.add("settings", "", problem)
    found = [_part(key, values, findings) for key, values in zip(_FILE_KEYS, _file_settings(settings), strict=True)]
    _check_named_once(found, findings)
    _check_effect("field_delimiter", settings.field_delimiter, DELIMITED_SUFFIXES, found, findings=findings)
    _check_effect("encoding", settings.encoding, TEXT_SUFFIXES, found, findings=findings)
    train, validation, test = found
    return Sources(train or PartSource("train_file", ()), validation, test)


def is_on_hub(dataset_name: str | None) -> bool:
    """Tell whether a data set of this name would be looked for on the Hub."""
    return dataset_name is not None and dataset_name != DEMO_NAME


def _file_settings(settings: DataSettings) -> tuple[Sequence[str], ...]:
    return tuple(values or () for values in (settings.train_file, settings.validation_file, settings.test_file))


def _part(key: str, values: Sequence[str], findings: Findings) -> PartSource | None:
    return PartSource(key, tuple(find_files(values, findings, key=key))) if values else None


def _named_data_set(settings: DataSettings, findings: Findings, *, labelled: bool, cache_dir: str | None) -> Sources:
    place = f"dataset_name: {settings.dataset_name}"
    for key, values in zip(_FILE_KEYS, _file_settings(settings), strict=True):
        if values:
            problem = Problem(place, f"{key} is set too", "a data set brings its own parts", "remove one of the two")
            findings.add("settings", "", problem)
    for key, value in (("field_delimiter", settings.field_delimiter), ("encoding", settings.encoding)):
        if value is not None:
            findings.add("settings", "", Problem(place, f"{key} is set too", "it is without effect", "remove it"))
    if is_on_hub(settings.dataset_name):
        # what talks to the Hub takes seconds to import, and a run on files needs none of it
        from hfpipe.data.hub_datasets import find_hub_sources

        return find_hub_sources(settings, findings, labelled=labelled, cache_dir=cache_dir)
    file = demo_file(findings)
    files = (file,) if file is not None else ()
    train, test = PartSource("dataset_name", files, is_demo_train), PartSource("dataset_name", files, is_demo_test)
    return Sources(train, None, test, LABEL_NAMES)


def find_files(values: Sequence[str], findings: Findings, *, key: str) -> Iterator[SourceFile]:
    """Yield the files that `values` name, in order; a folder's and a glob's files sorted by name."""
    for value in values:
        path = Path(value).expanduser()
        if path.is_dir():
            yield from _files_of_folder(path, key, value, findings)
        elif path.exists():
            file = SourceFile(path, str(path))
            problem = file_problem(path, f"{key}: {value}")
            if problem is not None:
                findings.add("unreadable files", key, problem)
            elif file.suffix in SUFFIXES:
                yield file
            else:
                findings.add("files of an unknown kind", key, suffix_problem(file))
        elif glob.has_magic(value):
            yield from _files_of_glob(value, key, findings)
        else:
            findings.add("missing files", key, _missing_problem(path, key, value))


def _files_of_folder(folder: Path, key: str, value: str, findings: Findings) -> Iterator[SourceFile]:
    paths = sorted(path for path in folder.rglob("*") if not path.is_dir() and not _is_hidden(path.relative_to(folder)))
    yield from _known(paths, (key, value, "this folder"), findings)


def _files_of_glob(pattern: str, key: str, findings: Findings) -> Iterator[SourceFile]:
    matches = glob.glob(str(Path(pattern).expanduser()), recursive=True)  # noqa: PTH207 - Path.glob takes no absolute one
    yield from _known(sorted(path for path in map(Path, matches) if not path.is_dir()), (key, pattern, "it"), findings)


def _known(paths: Sequence[Path], origin: tuple[str, str, str], findings: Findings) -> Iterator[SourceFile]:
    key, value, what = origin
    beside = _beside_rows(paths)
    files = [SourceFile(path, str(path)) for path in paths if path not in beside]
    known = [file for file in files if file.suffix in SUFFIXES]
    if not known:
        rule, remedy = f"read are {' '.join(SUFFIXES)}", "name the files themselves, or convert them"
        findings.add("missing files", key, Problem(f"{key}: {value}", f"no file of {what} can be read", rule, remedy))
        return
    others = [file.name for file in files if file.suffix not in SUFFIXES]
    _note_unread(f"{key}: {value}", others, "for the suffix", findings)
    _note_unread(f"{key}: {value}", list(map(str, beside)), "beside the rows of a data set", findings)
    for file in known:
        trouble = file_problem(file.path, f"{key}: {file.name}")
        if trouble is None:
            yield file
        else:
            findings.add("unreadable files", key, trouble)


def _beside_rows(paths: Sequence[Path]) -> list[Path]:
    """Return the files that describe or cache a data set saved as Arrow files in their folder or below it."""
    folders = {folder for path in paths if format_suffix(path.name) == ".arrow" for folder in path.parents}
    described = [path for path in paths if path.name in _DESCRIPTIONS and path.parent in folders]
    return described + [path for path in paths if path.match(_CACHES)]


def _note_unread(place: str, names: Sequence[str], reason: str, findings: Findings) -> None:
    if names:
        noun = "file is" if len(names) == 1 else "files are"
        findings.note(f"{place}: {len(names):,} {noun} not read {reason}, as {names[0]}")


def _is_hidden(relative: Path) -> bool:
    return any(part.startswith(".") for part in relative.parts)


def _missing_problem(path: Path, key: str, value: str) -> Problem:
    place = f"{key}: {value}"
    if path.is_symlink():
        return file_problem(path, place) or Problem(place, "no such file")
    if not path.parent.is_dir():
        return Problem(place, "no such file", f"there is no folder {path.parent}", "write the path anew")
    names = sorted(entry.name for entry in path.parent.iterdir() if not entry.name.startswith("."))
    near = difflib.get_close_matches(path.name, names, n=2, cutoff=0.7)
    if near:
        return Problem(
            place, "no such file", "", f"did you mean {', '.join(str(path.parent / name) for name in near)}?"
        )
    return Problem(place, "no such file", f"the folder {path.parent} has {len(names):,} others", "write the path anew")


def _check_named_once(parts: Sequence[PartSource | None], findings: Findings) -> None:
    seen: dict[Path, str] = {}
    for part in (part for part in parts if part is not None):
        for file in part.files:
            path = file.path.resolve()
            if path in seen:
                rule = "every row counts once" if seen[path] == part.key else f"{seen[path]} names it too"
                findings.add("files named twice", part.key, Problem(f"{part.key}: {file.name}", "named twice", rule))
            seen.setdefault(path, part.key)


def _check_effect(
    key: str,
    value: str | None,
    suffixes: Sequence[str],
    parts: Sequence[PartSource | None],
    *,
    findings: Findings,
) -> None:
    there = {file.suffix for part in parts if part is not None for file in part.files}
    if value is not None and there and not there & set(suffixes):
        problem = Problem(f"{key}: {value!r}", "", f"without effect on {' '.join(sorted(there))} files", "remove it")
        findings.add("settings", "", problem)
