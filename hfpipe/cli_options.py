"""Options that several commands share."""

from typing import Annotated

import typer

RunFile = Annotated[str, typer.Argument(metavar="FILE|NAME", help="A YAML file, or a run listed by 'hfpipe recipes'.")]
Overrides = Annotated[
    list[str] | None, typer.Argument(metavar="[KEY=VALUE]", help="Settings that take the place of the file's.")
]
Accelerate = Annotated[
    str | None, typer.Option(metavar="NAME|FILE", help="Launch by accelerate under this file: cpu, multi_cpu, ...")
]
MaxRestarts = Annotated[
    int, typer.Option(min=0, metavar="N", help="Start all processes again when one was lost, at most so often.")
]
Delimiter = Annotated[str | None, typer.Option(help="The delimiter of a .csv file, if it is not ','.")]
Encoding = Annotated[str | None, typer.Option(help="The encoding of the file, as in cp1252, if it is not UTF-8.")]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace the output file where it exists.")]
