"""The files of a data set on the Hub as shards, found without fetching them.

The revision is settled to a commit at the start and stands in the name of each shard: a run that goes on later reads
the same commit, wherever the branch stands by then.
"""

from collections.abc import Sequence
from pathlib import Path

from hfpipe.config.sections import DataSettings
from hfpipe.data.hub_datasets import find_hub_files
from hfpipe.data.record_stream import SourceFile
from hfpipe.data.records import SUFFIXES
from hfpipe.data.shards import HUB_PREFIX, Shard
from hfpipe.errors import ConfigError, DataError, Problem

_COMMIT_CHARACTERS = 12


def find_hub_shards(settings: DataSettings, *, cache_dir: str | None = None) -> dict[str, tuple[Shard, ...]]:
    """Return the shards of 'train' and, where their splits are set or there, of 'validation' and 'test'.

    Raises:
        DataError: If the data set or a split cannot be found, or has files that cannot be read where they lie.
    """
    place = f"dataset_name: {settings.dataset_name}"
    try:
        files = find_hub_files(settings, cache_dir=cache_dir)
    except ConfigError as error:
        raise DataError(error.problems) from error
    if not all(urls and all(url.startswith(HUB_PREFIX) for url in urls) for urls in files.values()):
        rule, remedy = "cannot be streamed: it is not made of files on the Hub", "remove streaming"
        raise DataError(Problem(place, "", rule, remedy))
    return {part: _shards_of(urls, place) for part, urls in files.items()}


def _shards_of(urls: Sequence[str], place: str) -> tuple[Shard, ...]:
    from huggingface_hub import HfFileSystem

    system = HfFileSystem()
    files = [SourceFile(Path(url), _name_of(url)) for url in urls]
    strange = [file.name for file in files if file.suffix not in SUFFIXES]
    if strange:
        rule = f"cannot be streamed: what is read is {' '.join(SUFFIXES)}"
        raise DataError(Problem(place, strange[0], rule, "remove streaming"))
    sizes = [int(system.info(url)["size"]) for url in urls]
    return tuple(Shard(file, size, url) for file, size, url in zip(files, sizes, urls, strict=True))


def _name_of(url: str) -> str:
    """Return 'owner/name@0123456789ab/path/of/file' for the address of a file."""
    repository, _, rest = url.removeprefix(HUB_PREFIX).partition("@")
    commit, _, path = rest.partition("/")
    return f"{repository}@{commit[:_COMMIT_CHARACTERS]}/{path}"
