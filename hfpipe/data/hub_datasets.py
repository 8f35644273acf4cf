"""Data sets of the Hub by name: configuration, revision and splits, as the Arrow files that `datasets` caches.

Refuses a configuration or split that is not there, with those there are, and one that would have to be guessed. The
revision is resolved to a commit before anything is downloaded, and with configuration, split and number of rows it is
what a run remembers of its data: bytes of a cache differ between machines.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from hfpipe.config.sections import DataSettings
from hfpipe.data.arrow import read_class_names
from hfpipe.data.columns import choose_columns, request_columns
from hfpipe.data.findings import Findings
from hfpipe.data.record_stream import SourceFile, shorten
from hfpipe.data.sources import PartSource, Sources
from hfpipe.errors import ConfigError, Problem
from hfpipe.repositories import Unreachable, Wanted, download, find_cached, look_up, missing_problem

if TYPE_CHECKING:
    from datasets import Dataset, DatasetBuilder

_VALIDATION_NAMES = ("validation", "valid", "dev")
_TEST_NAMES = ("test",)
_SPLIT_KEYS = {"train": "train_split_name", "validation": "validation_split_name", "test": "test_split_name"}
# readers of `datasets` that take .pth or .pkl
_UNPICKLING = ("webdataset", "pandas")
_CARD_FILES = ("README.md", ".gitattributes")  # every repository has the second


@dataclass(frozen=True)
class _Opened:
    """A data set whose configuration is known; `builder` downloads and reads it."""

    wanted: Wanted
    commit: str
    builder: "DatasetBuilder"

    @property
    def name(self) -> str:
        """The data set's name on the Hub."""
        return self.wanted.name

    @property
    def config_name(self) -> str:
        """The name of the configuration, 'default' where the data set names none."""
        return str(self.builder.config.name)


def find_hub_sources(
    settings: DataSettings, findings: Findings, *, labelled: bool, cache_dir: str | None = None
) -> Sources:
    """Return the parts of the data set `dataset_name`, downloaded where the cache lacks them.

    A validation or test split found by its name is left out where no row of it has a label, and that is said.
    What is wrong goes to `findings`.
    """
    assert settings.dataset_name is not None, "the caller has seen the name"
    wanted = Wanted(
        "dataset", settings.dataset_name, settings.dataset_revision, "dataset_name", "dataset_revision", cache_dir
    )
    try:
        opened = _open(wanted, settings.dataset_config_name)
        splits = _choose_splits(opened, settings)
        loaded = _load(opened, splits)
    except ConfigError as error:
        for problem in error.problems:
            findings.add("data sets", "", problem)
        return Sources(PartSource("dataset_name", ()), None, None)
    label = _label_column(settings, loaded["train"]) if labelled else None
    used = dict(_without_unlabelled(opened, settings, loaded, label=label, findings=findings))
    told = ", ".join(f"{part} from split {splits[part]!r}" for part in used)
    findings.note(f"{opened.name} at commit {opened.commit}, configuration {opened.config_name!r}: {told}")
    parts = {part: PartSource("dataset_name", _files(opened, splits[part], rows)) for part, rows in used.items()}
    names = _label_names(parts["train"], label)
    return Sources(parts["train"], parts.get("validation"), parts.get("test"), names)


def find_hub_files(settings: DataSettings, *, cache_dir: str | None = None) -> dict[str, tuple[str, ...]]:
    """Return the addresses of the files of each part, none of them downloaded; empty where they have no addresses.

    Raises:
        ConfigError: If the data set, its configuration or a split is not there.
    """
    assert settings.dataset_name is not None, "the caller has seen the name"
    wanted = Wanted(
        "dataset", settings.dataset_name, settings.dataset_revision, "dataset_name", "dataset_revision", cache_dir
    )
    opened = _open(wanted, settings.dataset_config_name)
    files = {str(split): tuple(map(str, found)) for split, found in (opened.builder.config.data_files or {}).items()}
    return {part: files.get(split, ()) for part, split in _choose_splits(opened, settings).items()}


def _open(wanted: Wanted, config_name: str | None) -> _Opened:
    try:
        commit = look_up(wanted).commit
        # leaves in the cache which commit the revision stands for, so that it is known without the Hub
        download(wanted, _CARD_FILES)
    except Unreachable as reason:
        return _open_cached(wanted, config_name, reason)
    return _Opened(wanted, commit, _hub_builder(wanted, config_name, commit))


def _hub_builder(wanted: Wanted, config_name: str | None, commit: str) -> "DatasetBuilder":
    from datasets import load_dataset_builder
    from datasets.exceptions import DatasetsError
    from huggingface_hub.errors import HTTPError

    try:
        builder = load_dataset_builder(wanted.name, config_name, revision=commit, cache_dir=wanted.cache_dir)
    except ValueError as error:
        raise ConfigError(_config_problem(wanted, config_name, (commit, error))) from error
    except (OSError, RuntimeError, DatasetsError, HTTPError) as error:
        raise ConfigError(_loading_problem(wanted, error)) from error
    reader = type(builder).__module__.rpartition(".")[2]
    if reader in _UNPICKLING:
        rule = f"{reader}, which reads its files, may unpickle what is in them, and that can run any code"
        raise ConfigError(Problem(wanted.key, wanted.name, rule, "give its rows as CSV, JSON lines or Parquet"))
    return builder


def _config_problem(wanted: Wanted, config_name: str | None, origin: tuple[str, ValueError]) -> Problem:
    from datasets import get_dataset_config_names

    commit, error = origin
    names = get_dataset_config_names(wanted.name, revision=commit)
    if config_name is not None and config_name not in names:
        rule = f"{wanted.name} has no configuration of this name"
        return Problem("dataset_config_name", config_name, rule, f"there are {_listed(names)}")
    if config_name is None and len(names) > 1:
        rule = f"has {len(names):,} configurations"
        return Problem(wanted.key, wanted.name, rule, f"set dataset_config_name to one of {_listed(names)}")
    return _loading_problem(wanted, error)


def _loading_problem(wanted: Wanted, error: Exception) -> Problem:
    reason: BaseException = error
    while reason.__cause__ is not None:
        reason = reason.__cause__
    first_line = (str(reason).strip() or type(reason).__name__).splitlines()[0]
    remedy = f"see {wanted.page}"
    if "scripts are no longer supported" in first_line:
        remedy = "try dataset_revision: refs/convert/parquet, or give its files as train_file"
    return Problem(wanted.key, wanted.name, f"cannot be loaded ({first_line})", remedy)


def _open_cached(wanted: Wanted, config_name: str | None, reason: Unreachable) -> _Opened:
    """Return the data set of the cache at the commit that the revision stood for when it was last downloaded."""
    from datasets import config
    from datasets.packaged_modules.cache.cache import Cache

    snapshot = find_cached(wanted)
    root = Path(wanted.cache_dir or config.HF_DATASETS_CACHE).expanduser()
    folders = root.glob(f"{wanted.name.replace('/', '___')}/*/*/{snapshot.name}") if snapshot else iter(())
    versions = {folder.parent.parent.name: folder.parent.name for folder in folders}
    names = sorted(name for name in versions if config_name in (None, name))
    if snapshot is None or not names:
        raise ConfigError(missing_problem(wanted, reason)) from reason
    if len(names) > 1:
        rule = f"the cache has {len(names):,} configurations"
        remedy = f"set dataset_config_name to one of {_listed(names)}"
        raise ConfigError(Problem(wanted.key, wanted.name, rule, remedy)) from reason
    builder = Cache(
        cache_dir=wanted.cache_dir,
        dataset_name=wanted.name.rpartition("/")[2],
        repo_id=wanted.name,
        config_name=names[0],
        version=versions[names[0]],
        hash=snapshot.name,
    )
    return _Opened(wanted, snapshot.name, builder)


def _choose_splits(opened: _Opened, settings: DataSettings) -> dict[str, str]:
    """Return the split of each part there is: those named, else those called as such splits are."""
    names = [str(name) for name in opened.builder.config.data_files or opened.builder.info.splits or ()]
    given = {
        "train": settings.train_split_name,
        "validation": settings.validation_split_name,
        "test": settings.test_split_name,
    }
    problems = [
        Problem(_SPLIT_KEYS[part], split, f"{opened.name} has no split of this name", f"there are {_listed(names)}")
        for part, split in given.items()
        if split is not None and split not in names
    ]
    named = [split for split in given.values() if split is not None]
    problems += [
        Problem(_SPLIT_KEYS[part], split, "is another part already", "name another split")
        for place, (part, split) in enumerate((part, split) for part, split in given.items() if split is not None)
        if split in named[:place]
    ]
    if problems:
        raise ConfigError(problems)
    found = {"validation": _VALIDATION_NAMES, "test": _TEST_NAMES}
    splits = {part: split for part, split in given.items() if split is not None}
    for part, wanted in found.items():
        free = [name for name in wanted if name in names and name not in splits.values()]
        if part not in splits and free:
            splits[part] = free[0]
    return {part: splits[part] for part in _SPLIT_KEYS if part in splits}


def _load(opened: _Opened, splits: Mapping[str, str]) -> dict[str, "Dataset"]:
    """Return the rows of each part, memory-mapped; they are downloaded first where the cache lacks them."""
    from datasets.exceptions import DatasetsError
    from huggingface_hub.errors import HTTPError

    try:
        opened.builder.download_and_prepare()
        return {part: opened.builder.as_dataset(split=split) for part, split in splits.items()}
    except (OSError, ValueError, RuntimeError, DatasetsError, HTTPError) as error:
        raise ConfigError(_loading_problem(opened.wanted, error)) from error


def _label_column(settings: DataSettings, rows: "Dataset") -> str | None:
    """Return the column that will be chosen for the label, None where there is no choice: that is told later."""
    request = request_columns(settings, labelled=True)
    choice = choose_columns(rows.column_names, request, findings=Findings(), name="")
    return None if choice is None else choice.label


def _without_unlabelled(
    opened: _Opened,
    settings: DataSettings,
    loaded: Mapping[str, "Dataset"],
    *,
    label: str | None,
    findings: Findings,
) -> Iterator[tuple[str, "Dataset"]]:
    given = (settings.validation_split_name, settings.test_split_name)
    for part, rows in loaded.items():
        split = str(rows.split)
        if part != "train" and split not in given and label is not None and _has_no_label(rows, label):
            findings.note(f"{opened.name}: split {split!r} is not used: no row of it has a label")
        else:
            yield part, rows


def _has_no_label(rows: "Dataset", label: str) -> bool:
    """Tell whether a column is empty from end to end; -1 is how data sets write a label they keep to themselves."""
    from datasets import ClassLabel, Value

    if label not in rows.column_names or not isinstance(rows.features[label], ClassLabel | Value):
        return False
    return set(rows.unique(label)) <= {None, -1, ""}


def _files(opened: _Opened, split: str, rows: "Dataset") -> tuple[SourceFile, ...]:
    paths = [Path(file["filename"]) for file in rows.cache_files]
    about = f"{opened.name}@{opened.commit}, configuration {opened.config_name}, split {split}, {rows.num_rows:,} rows"
    if len(paths) == 1:
        return (SourceFile(paths[0], f"{opened.name}[{split}]", identity=about),)
    return tuple(
        SourceFile(path, f"{opened.name}[{split}, {number} of {len(paths)}]", identity=f"{about}, file {number}")
        for number, path in enumerate(paths, start=1)
    )


def _label_names(train: PartSource, label: str | None) -> tuple[tuple[str, str], ...]:
    """Return the names of the classes by the numbers that stand for them in the rows."""
    if label is None or not train.files:
        return ()
    names = read_class_names(train.files[0].path).get(label, ())
    return tuple((str(number), name) for number, name in enumerate(names))


def _listed(names: Sequence[str]) -> str:
    shown = ", ".join(map(shorten, names[:8]))
    return shown if len(names) <= 8 else f"{shown}, ... ({len(names):,} in all)"
