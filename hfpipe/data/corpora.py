"""The data of a run, whichever way they are read: labelled texts, documents in memory, or documents while training.

What is on the Hub is read at the commit the run began with, so a run goes on with the same data wherever a branch
stands by then. Where the test part is not to be scored (`score_test: false`) it ends here: its rows are read and
accounted for, and kept from training, and nothing behind this module meets them.
"""

from dataclasses import replace

from hfpipe.config import RunConfig
from hfpipe.data.accounting import DataSummary
from hfpipe.data.commits import pin_commits
from hfpipe.data.parts import DocumentParts, LabelledParts, load_document_parts, load_labelled_parts
from hfpipe.data.streamed_parts import StreamedParts, load_streamed_parts


def load_labelled(config: RunConfig) -> LabelledParts:
    """Return the parts of a classification run; the same settings, files and seed give the same rows.

    Raises:
        DataError: With all problems of all files, if any cannot be used.
        CheckpointError: If the record in `output_dir` cannot be read.
    """
    parts = load_labelled_parts(pin_commits(config), seed=config.split_seed, cache_dir=config.model.cache_dir)
    if config.evaluation.score_test or parts.test is None:
        return parts
    return replace(parts, test=None, summary=_holding_test_back(parts.summary))


def load_corpus(config: RunConfig, *, processes: int = 1) -> DocumentParts | StreamedParts:
    """Return the parts of a run of so many processes; the same settings, files and seed give the same documents.

    Raises:
        DataError: With all problems of all files, if any cannot be used.
        CheckpointError: If the record in `output_dir` cannot be read.
    """
    data, seed, cache_dir = pin_commits(config), config.training.seed, config.model.cache_dir
    parts: DocumentParts | StreamedParts
    if data.streaming:
        parts = load_streamed_parts(data, seed=seed, processes=processes, cache_dir=cache_dir)
    else:
        parts = load_document_parts(data, seed=config.split_seed, cache_dir=cache_dir)
    if config.evaluation.score_test or parts.test is None:
        return parts
    return replace(parts, test=None, summary=_holding_test_back(parts.summary))


def _holding_test_back(summary: DataSummary) -> DataSummary:
    note = "test: held back: none of its rows is scored or looked at in this run (score_test: false)"
    return replace(summary, notes=(*summary.notes, note))
