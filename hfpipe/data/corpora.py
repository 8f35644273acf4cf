"""The documents of a language-model run, whichever way they are read: into memory, or while training."""

from hfpipe.config import RunConfig
from hfpipe.data.commits import pin_commits
from hfpipe.data.parts import DocumentParts, load_document_parts
from hfpipe.data.streamed_parts import StreamedParts, load_streamed_parts


def load_corpus(config: RunConfig, *, processes: int = 1) -> DocumentParts | StreamedParts:
    """Return the parts of a run of so many processes; the same settings, files and seed give the same documents.

    Raises:
        DataError: With all problems of all files, if any cannot be used.
        CheckpointError: If the record in `output_dir` cannot be read.
    """
    data, seed, cache_dir = pin_commits(config), config.training.seed, config.model.cache_dir
    if data.streaming:
        return load_streamed_parts(data, seed=seed, processes=processes, cache_dir=cache_dir)
    return load_document_parts(data, seed=seed, cache_dir=cache_dir)
