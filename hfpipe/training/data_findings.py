"""What is the matter with the data of a run, looked for before it trains, told in its log and kept for its report.

A cheap look in the main process, of a bounded number of rows and seconds; `hfpipe inspect` looks at everything. It
changes nothing of the run, and a run that goes on keeps what it began with.
"""

import logging
from collections.abc import Iterator

from hfpipe.data.parts import DocumentParts, LabelledParts
from hfpipe.inspection.inspected import of_document_parts, of_labelled_parts
from hfpipe.inspection.inspecting import CHEAP, inspect_parts
from hfpipe.inspection.record import FINDINGS_FILE, NOTE, FindingsRecord, write_findings
from hfpipe.inspection.reporting import percent, plural
from hfpipe.training.agreement import written_for_all
from hfpipe.training.session import Session

logger = logging.getLogger(__name__)

ROWS_KEPT = 50
_LINES = 5


def record_findings(session: Session, parts: LabelledParts | DocumentParts) -> None:
    """Write findings.json, and log what is worth a look; a baseline reads the rows of a run that has done so.

    Raises:
        CheckpointError: In all processes, if it cannot be written.
    """
    path = session.directory / FINDINGS_FILE
    with written_for_all(session.directory, session.args):
        is_known = session.config.baseline_of is not None or (session.is_resumed and path.is_file())
        if session.is_main and not is_known and session.config.profiled is None:
            inspected = of_labelled_parts(parts) if isinstance(parts, LabelledParts) else of_document_parts(parts)
            record = inspect_parts(inspected, scope=CHEAP, seed=session.config.training.seed).with_rows(ROWS_KEPT)
            write_findings(path, record)
            for line in _describe(record):
                logger.info(line)


def _describe(record: FindingsRecord) -> Iterator[str]:
    """Yield a line for each of the worst findings."""
    worth_a_look = [finding for finding in record.findings if finding.severity != NOTE]
    for finding in worth_a_look[:_LINES]:
        where = f"{finding.part}: " if finding.part else ""
        yield f"data: {where}{finding.title}: {plural(finding.count, 'row')} ({percent(finding.share)})"
    if worth_a_look:
        more = len(record.findings) - len(worth_a_look[:_LINES])
        kept = f"{plural(more, 'more finding')} in" if more else "all of it is in"
        yield f"data: {kept} {FINDINGS_FILE}, with the places; hfpipe inspect looks at all rows"
