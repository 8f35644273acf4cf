"""The command `hfpipe inspect`: its options, one call of the library, and what it prints.

It exits 0 whatever is found, for findings are no mistakes of the command.
"""

import os
import sys
from collections.abc import Iterable
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from hfpipe.cli_options import Delimiter, Encoding, Overwrite

if TYPE_CHECKING:
    from hfpipe.inspection.requests import Request


def inspect(
    files: Annotated[
        list[str], typer.Argument(metavar="FILE...", help="Tables or texts; or a YAML file and settings, as for run.")
    ],
    validation: Annotated[list[str] | None, typer.Option(help="A file of validation data; again for more.")] = None,
    test: Annotated[list[str] | None, typer.Option(help="A file of test data; may be given several times.")] = None,
    text_column: Annotated[
        list[str] | None, typer.Option(help="The column of the text; again for a joined one.")
    ] = None,
    text_pair_column: Annotated[str | None, typer.Option(help="The column of the second text.")] = None,
    label_column: Annotated[str | None, typer.Option(help="The column of the label.")] = None,
    label_delimiter: Annotated[str | None, typer.Option(help="What divides the labels of a row.")] = None,
    problem_type: Annotated[str | None, typer.Option(help="What a label is, as the setting problem_type.")] = None,
    no_labels: Annotated[bool, typer.Option("--no-labels", help="Look at the texts alone, as of a corpus.")] = False,
    document_per: Annotated[str | None, typer.Option(help="What one document of a .txt file is.")] = None,
    delimiter: Delimiter = None,
    encoding: Encoding = None,
    tokenizer: Annotated[str | None, typer.Option(help="Count lengths in its tokens: a folder, or a name.")] = None,
    max_seq_length: Annotated[int | None, typer.Option(min=4, help="Say what this many tokens would cut.")] = None,
    cleaning_steps: Annotated[
        str | None, typer.Option(metavar="STEP,STEP", help="Clean texts by these steps, as the setting cleaning_steps.")
    ] = None,
    diff: Annotated[bool, typer.Option("--diff", help="Show what cleaning steps change, and nothing else.")] = False,
    rows: Annotated[str, typer.Option(metavar="N|all", help="Rows shown of each finding.")] = "3",
    output: Annotated[Path | None, typer.Option(help="A .json file to write all findings to as well.")] = None,
    overwrite: Overwrite = False,
) -> None:
    """Say what is the matter with data before training on them: repeats, leaks, label errors, personal data, ..."""
    from hfpipe.config.option_names import INSPECT_OPTIONS, telling_options
    from hfpipe.inference.tables import check_output
    from hfpipe.inspection.cleaned import check_alone, read_steps
    from hfpipe.inspection.options import read_data_options, read_row_limit
    from hfpipe.inspection.requests import Request

    limit = read_row_limit(rows)
    if diff:
        check_alone(output)
    if output is not None:
        check_output(output, suffixes=(".json",), overwrite=overwrite)
    data = read_data_options(
        {
            "validation_file": validation,
            "test_file": test,
            "text_column_names": text_column,
            "text_pair_column_name": text_pair_column,
            "label_column_name": label_column,
            "label_delimiter": label_delimiter,
            "problem_type": problem_type,
            "document_per": document_per,
            "field_delimiter": delimiter,
            "encoding": encoding,
            "cleaning_steps": list(read_steps(cleaning_steps)) or None,
        }
    )
    request = Request(tuple(files), data, not no_labels, tokenizer, max_seq_length)
    # a run is described by settings, and they are what its user can change
    with nullcontext() if request.is_run else telling_options(INSPECT_OPTIONS):
        lines = _show_changes(request, limit) if diff else _show_findings(request, limit, output=output)
    print("\n".join(lines))


def _show_changes(request: "Request", limit: int | None) -> Iterable[str]:
    from hfpipe.data.cleaning_diff import describe_diff
    from hfpipe.inspection.cleaned import diff_request

    return describe_diff(diff_request(request, rows=limit), in_color=_is_coloured())


def _show_findings(request: "Request", limit: int | None, *, output: Path | None) -> Iterable[str]:
    """Return the findings as they are printed; all of them go to `output`."""
    from hfpipe.inspection.record import write_findings
    from hfpipe.inspection.rendering import render
    from hfpipe.inspection.requests import inspect_request

    record = inspect_request(request)
    if output is not None:
        write_findings(output, record)
    return render(record, rows=limit, coloured=_is_coloured())


def _is_coloured() -> bool:
    return sys.stdout.isatty() and not os.environ.get("NO_COLOR")
