"""Orders of `cleaning_steps` in which a step would do nothing, and steps that cannot be had here."""

from collections.abc import Iterator, Sequence

from hfpipe.config.cleaning_names import DEDUPLICATE, DEDUPLICATE_NEAR, ROW_STEPS, TEXT_STEPS
from hfpipe.config.installed import find_package
from hfpipe.config.settled import Settled
from hfpipe.errors import Problem

KEY = "cleaning_steps"
FOR_CLASSICAL_MODELS = ("remove_stop_words", "remove_punctuation")
# After the first, the others find nothing any more: the signs they go by are gone.
_SPENT_BY = {
    "remove_punctuation": ("unescape_html", "strip_html", "mask_urls", "remove_urls", "mask_personal"),
    "collapse_whitespace": ("tidy_lines",),
    "normalize_nfkc": ("normalize_nfc",),
    "mask_urls": ("remove_urls",),
    "remove_urls": ("mask_urls",),
}


def check_cleaning(settled: Settled) -> Iterator[Problem]:
    """Yield a problem for each step that would do nothing where it stands, or cannot be had."""
    given = settled.get(KEY)
    steps = tuple(map(str, given)) if isinstance(given, list | tuple) else ()
    for place, step in enumerate(steps):
        before = steps[:place]
        if before and before[-1] == step:
            yield settled.problem(KEY, f"{step} twice in a row changes nothing more", "name it once")
        for earlier in dict.fromkeys(before):
            if step in _SPENT_BY.get(earlier, ()):
                yield settled.problem(KEY, f"{step} finds nothing after {earlier}", _remedy(step, earlier))
    yield from _check_row_steps(settled, steps)


def find_cleaning_warnings(settled: Settled) -> Iterator[str]:
    """Yield a line on steps that take from a pretrained model what it goes by."""
    given = settled.get(KEY)
    for step in FOR_CLASSICAL_MODELS:
        if isinstance(given, list | tuple) and step in given and settled.has("model_name_or_path"):
            yield (
                f"{KEY}: {step} is made for models that count words; a pretrained model was trained on whole "
                "sentences and usually loses by it"
            )


def _remedy(step: str, earlier: str) -> str:
    undone = step in _SPENT_BY and earlier in _SPENT_BY[step]
    return "keep one of them" if undone else f"put {step} before {earlier}, or remove it"


def _check_row_steps(settled: Settled, steps: Sequence[str]) -> Iterator[Problem]:
    row_steps = tuple(dict.fromkeys(step for step in steps if step in ROW_STEPS))
    for step in row_steps:
        if any(later in TEXT_STEPS for later in steps[steps.index(step) + 1 :]):
            rule = f"{step} compares rows after all steps on their texts"
            yield settled.problem(KEY, rule, f"put {step} at the end")
    if len(row_steps) > 1:
        rule = f"{DEDUPLICATE} has no effect beside {DEDUPLICATE_NEAR}, which finds what it finds"
        yield settled.problem(KEY, rule, f"remove {DEDUPLICATE}")
    if row_steps and settled.get("streaming"):
        rule = f"{row_steps[0]} compares all rows, and those of a stream are not known ahead"
        yield settled.problem(KEY, rule, "remove it, or remove streaming")
    if DEDUPLICATE_NEAR in row_steps and find_package("datasketch") is None:
        rule = f"{DEDUPLICATE_NEAR} needs the package datasketch, which is not installed"
        yield settled.problem(KEY, rule, "pip install 'hfpipe[inspect]'")
