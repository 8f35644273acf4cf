"""The files of a data set on the Hub, found without fetching them.

The revision is settled to a commit at the start and stands in the name of each shard: a run that goes on later reads
the same commit, or is refused because the branch has moved.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

from hfpipe.config.sections import DataSettings
from hfpipe.data.record_stream import SourceFile
from hfpipe.data.records import SUFFIXES
from hfpipe.data.shards import Shard
from hfpipe.errors import DataError, Problem

_PREFIX = "hf://datasets/"
_COMMIT_CHARACTERS = 12


def find_hub_shards(settings: DataSettings, *, cache_dir: str | None = None) -> dict[str, tuple[Shard, ...]]:
    """Return the shards of the splits in use: 'train' and, where they are set or there, 'validation' and 'test'.

    Raises:
        DataError: If the data set or a split cannot be found, or has files that cannot be read as they stand.
    """
    place = f"dataset_name: {settings.dataset_name}"
    files = _resolve_files(settings, place, cache_dir=cache_dir)
    wanted = {
        "train": settings.train_split_name,
        "validation": settings.validation_split_name or _if_there("validation", files),
        "test": settings.test_split_name or _if_there("test", files),
    }
    missing = [(f"{part}_split_name", name) for part, name in wanted.items() if name is not None and name not in files]
    if missing:
        rule = f"no such split; there are {', '.join(files)}"
        raise DataError([Problem(f"{key}: {name}", rule=rule, remedy="name one of them") for key, name in missing])
    return {part: _shards_of(files[name], place) for part, name in wanted.items() if name is not None}


def _if_there(split: str, files: Mapping[str, Sequence[str]]) -> str | None:
    return split if split in files else None


def _resolve_files(settings: DataSettings, place: str, *, cache_dir: str | None) -> dict[str, list[str]]:
    """Return the addresses of the files of each split, in the order of the data set."""
    import datasets

    assert settings.dataset_name is not None
    try:
        builder = datasets.load_dataset_builder(
            settings.dataset_name,
            settings.dataset_config_name,
            revision=settings.dataset_revision,
            cache_dir=cache_dir,
        )
    except (OSError, ValueError, RuntimeError) as error:
        raise DataError(_unfound_problem(place, error)) from error
    files = {str(split): list(found) for split, found in (builder.config.data_files or {}).items()}
    if not files or not all(url.startswith(_PREFIX) for found in files.values() for url in found):
        remedy = "download it and give its files as train_file"
        raise DataError(Problem(place, "", "is not made of files that can be streamed", remedy))
    return files


def _unfound_problem(place: str, error: Exception) -> Problem:
    reason = (str(error).strip() or type(error).__name__).splitlines()[0].rstrip(".")
    return Problem(place, "cannot be had from the Hub", reason, "look at its name, dataset_config_name and revision")


def _shards_of(urls: Sequence[str], place: str) -> tuple[Shard, ...]:
    from huggingface_hub import HfFileSystem

    system = HfFileSystem()
    files = [SourceFile(Path(url), _name_of(url)) for url in urls]
    strange = [file.name for file in files if file.suffix not in SUFFIXES]
    if strange:
        remedy = "download it and convert its files"
        raise DataError(Problem(place, strange[0], f"read are {' '.join(SUFFIXES)}", remedy))
    sizes = [int(system.info(url)["size"]) for url in urls]
    return tuple(Shard(file, size, url) for file, size, url in zip(files, sizes, urls, strict=True))


def _name_of(url: str) -> str:
    """Return 'owner/name@0123456789ab/path/of/file' for the address of a file."""
    repository, _, rest = url.removeprefix(_PREFIX).partition("@")
    commit, _, path = rest.partition("/")
    return f"{repository}@{commit[:_COMMIT_CHARACTERS]}/{path}"
