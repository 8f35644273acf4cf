"""The data of a run, whichever way they are read: labelled texts, documents in memory, or documents while training.

What is on the Hub is read at the commit the run began with, so a run goes on with the same data wherever a branch
stands by then.
"""

from hfpipe.config import RunConfig
from hfpipe.data.commits import pin_commits
from hfpipe.data.parts import DocumentParts, LabelledParts, load_document_parts, load_labelled_parts
from hfpipe.data.streamed_parts import StreamedParts, load_streamed_parts


def load_labelled(config: RunConfig) -> LabelledParts:
    """Return the parts of a classification run; the same settings, files and seed give the same rows.

    Raises:
        DataError: With all problems of all files, if any cannot be used.
        CheckpointError: If the record in `output_dir` cannot be read.
    """
    return load_labelled_parts(pin_commits(config), seed=config.training.seed, cache_dir=config.model.cache_dir)


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
