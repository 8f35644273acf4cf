"""What is to be looked at, as a command line says it: files with options, or the YAML file of a run with its settings.

Of a run the parts are looked at as it would use them, split, cleaned and sampled; of files all rows are. A run that
streams is refused: its rows are never held.
"""

import re
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from hfpipe.config import RunConfig
from hfpipe.config.option_names import INSPECT_OPTIONS
from hfpipe.config.resolve import load_config
from hfpipe.config.sections import FINETUNE, SINGLE_LABEL, DataSettings, ModelSettings
from hfpipe.config.shipped import find_named_run, list_named_runs
from hfpipe.data.corpora import load_corpus, load_labelled
from hfpipe.data.parts import DocumentParts
from hfpipe.errors import ConfigError, Problem
from hfpipe.inspection.inspected import Inspected, of_document_parts, of_labelled_parts
from hfpipe.inspection.inspecting import inspect_parts
from hfpipe.inspection.reading import read_files
from hfpipe.inspection.record import FindingsRecord, NotLookedFor

if TYPE_CHECKING:
    from hfpipe.inspection.lengths import TokenCounts

_YAML = (".yaml", ".yml")


@dataclass(frozen=True)
class Request:
    """The words of the command: files, or a run and its settings; `data` are the options about files.

    `tokenizer` and `max_seq_length` are for files; a run has its own. Without `labelled` no label is looked for.
    """

    words: tuple[str, ...]
    data: DataSettings = field(default_factory=DataSettings)
    labelled: bool = True
    tokenizer: str | None = None
    max_seq_length: int | None = None

    @property
    def is_run(self) -> bool:
        """Whether the first word is a YAML file, or the name of a shipped run."""
        first = self.words[0]
        is_file = Path(first).expanduser().exists() or Path(first).suffix not in ("", *_YAML)
        return Path(first).suffix in _YAML or (not is_file and first in {run.name for run in list_named_runs()})


def inspect_request(request: Request) -> FindingsRecord:
    """Return what is found in the files or the run.

    Raises:
        ConfigError: If options do not go together, or settings of the run are wrong.
        DataError: With all problems of all files, if any cannot be read.
    """
    check_request(request)
    if request.is_run:
        config = load_config(["--config", str(find_named_run(request.words[0])), *request.words[1:]])
        return _inspect_run(config)
    inspected = read_files(replace(request.data, train_file=request.words), labelled=request.labelled)
    tokens = None
    if request.tokenizer is not None:
        tokens = _count(inspected, ModelSettings(tokenizer_name=request.tokenizer), request.max_seq_length)
    return _tell_options(inspect_parts(inspected, tokens=tokens))


def _tell_options(record: FindingsRecord) -> FindingsRecord:
    """Return what is said of columns with options in place of settings: files have no others."""
    told = re.sub(r"(?<=\(set by )\w+", lambda found: INSPECT_OPTIONS.get(found[0], found[0]), record.overview.columns)
    return replace(record, overview=replace(record.overview, columns=told))


def check_request(request: Request) -> None:
    """Check that the words and options of a command go together.

    Raises:
        ConfigError: If they do not.
    """
    (_check_run if request.is_run else _check_files)(request)


def _inspect_run(config: RunConfig) -> FindingsRecord:
    if config.recipe == FINETUNE:
        inspected, limit = of_labelled_parts(load_labelled(config)), config.data.max_seq_length
    else:
        parts = None if config.data.streaming else load_corpus(config)
        if not isinstance(parts, DocumentParts):
            rule = "rows of a stream are never held, and cannot be compared with each other"
            raise ConfigError(
                Problem("streaming: true", "", rule, "give it streaming=false, or name some of its files")
            )
        inspected, limit = of_document_parts(parts), None
    model, seed = config.model, config.training.seed
    if model.tokenizer_name is None and model.model_name_or_path is None:
        return inspect_parts(inspected, seed=seed)
    try:
        tokens = _count(inspected, model, limit, data=config.data)
    except ConfigError as error:
        record = inspect_parts(inspected, seed=seed)
        missed = tuple(NotLookedFor("truncation", str(problem)) for problem in error.problems)
        return replace(record, not_looked_for=(*record.not_looked_for, *missed))
    return inspect_parts(inspected, tokens=tokens, seed=seed)


def _count(
    inspected: Inspected, model: ModelSettings, limit: int | None, *, data: DataSettings | None = None
) -> "TokenCounts":
    # transformers takes seconds to import, and most looks need none of it
    from hfpipe.data.cutting import LengthRule, find_length_rule
    from hfpipe.inspection.lengths import count_tokens
    from hfpipe.models.tokenizers import load_tokenizer

    rule = None if limit is None else LengthRule(limit) if data is None else find_length_rule(data)
    return count_tokens(inspected, load_tokenizer(model), rule)


def _check_run(request: Request) -> None:
    """Raise a ConfigError for options that a run has settings for."""
    plain = DataSettings()
    given = [name for name in vars(plain) if vars(request.data)[name] != vars(plain)[name]]
    given += [] if request.tokenizer is None else ["tokenizer_name"]
    given += [] if request.max_seq_length is None else ["max_seq_length"]
    given += [] if request.labelled else ["--no-labels"]
    rule = "an option for files; a run has its own settings"
    problems = [
        Problem(_as_option(name), "", rule, f"leave it out, or give it as in {_as_setting(name)}") for name in given
    ]
    if problems:
        raise ConfigError(problems)


def _as_option(name: str) -> str:
    return name if name.startswith("--") else INSPECT_OPTIONS.get(name, f"--{name.replace('_', '-')}")


def _as_setting(name: str) -> str:
    return "recipe: pretrain_causal_lm" if name.startswith("--") else f"{name}=..."


def _check_files(request: Request) -> None:
    words = request.words
    problems = [
        Problem(word, "", "is no option of hfpipe inspect, and no file", "hfpipe inspect --help lists the options")
        for word in words
        if word.startswith("-")
    ]
    problems += [
        Problem(word, "", "a setting, where files are looked at", "settings go with a YAML file; files have options")
        for word in words
        if "=" in word and not Path(word).exists()
    ]
    problems += [
        Problem(word, "", "a run is looked at by itself", "name either one YAML file or files of data")
        for word in words
        if Path(word).suffix in _YAML
    ]
    if request.max_seq_length is not None and request.tokenizer is None:
        rule = "counts tokens, and no tokenizer is named"
        problems.append(Problem(f"--max-seq-length {request.max_seq_length}", "", rule, "add --tokenizer"))
    if not request.labelled:
        data, plain = request.data, DataSettings()
        labels = {"--label-column": data.label_column_name, "--label-delimiter": data.label_delimiter}
        if data.problem_type not in (plain.problem_type, SINGLE_LABEL):
            labels["--problem-type"] = data.problem_type
        problems += [
            Problem(option, str(value), "without effect beside --no-labels", "leave one of the two out")
            for option, value in labels.items()
            if value is not None
        ]
    if problems:
        raise ConfigError(problems)
