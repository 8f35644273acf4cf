"""What a reader should know before relying on a model, each sentence from a fact of its run; and whose work it is."""

import math
from collections.abc import Iterator

from hfpipe.config.sections import SINGLE_LABEL
from hfpipe.hub.card_facts import CardFacts
from hfpipe.hub.card_results import unread_share
from hfpipe.hub.card_text import code, number, plain

SMALL_PART = 1_000
UNEVEN = 4

_IMDB = """\
@inproceedings{maas2011learning,
  title     = {Learning Word Vectors for Sentiment Analysis},
  author    = {Maas, Andrew L. and Daly, Raymond E. and Pham, Peter T. and Huang, Dan and Ng, Andrew Y.
               and Potts, Christopher},
  booktitle = {Proceedings of the 49th Annual Meeting of the Association for Computational Linguistics},
  year      = {2011}
}"""


def limit_lines(facts: CardFacts) -> Iterator[str]:
    """Yield the limits as a list."""
    yield from ("## Limits", "")
    yield from (f"- {line}" for line in _limits(facts))
    yield ""


def source_lines(facts: CardFacts) -> Iterator[str]:
    """Yield what the work stands on: base model, data, and their terms."""
    if facts.base_model is None and not facts.data_sets:
        return
    yield from ("## Sources and licences", "")
    if facts.base_model is not None:
        terms = " (Apache-2.0)" if facts.base_model == "sentence-transformers/all-MiniLM-L6-v2" else ""
        linked = f"[{facts.base_model}](https://huggingface.co/{facts.base_model})"
        yield f"- Base model: {linked}{terms}; its terms hold here."
    yield from (
        f"- Data: [{name}](https://huggingface.co/datasets/{name}); its terms hold for what is quoted from it."
        for name in facts.data_sets
    )
    yield ""
    if "stanfordnlp/imdb" in facts.data_sets:
        yield from ("The reviews come without an explicit licence; their authors ask to be cited:", "")
        yield from ("```bibtex", _IMDB, "```", "")


def _limits(facts: CardFacts) -> Iterator[str]:
    if not facts.is_finished:
        yield "Training was not at its end when these weights were saved."
    yield from _language_model_limits(facts) if facts.is_language_model else _classifier_limits(facts)
    if "test" not in facts.run["data"].get("parts", {}):
        yield "There was no test part: no score here is of data that had no say in choosing the weights."
    if facts.base_model is not None:
        yield f"What is known of the limits and biases of {facts.base_model} holds here too."
    yield (
        "The scores are of data like those it was trained on; texts of another kind, language or time may fare worse. "
        "The data were not examined for bias."
    )


def _classifier_limits(facts: CardFacts) -> Iterator[str]:
    for part in ("train", "validation", "test"):
        unread = unread_share(facts.part(part))
        if unread:
            length = f"{facts.settings['max_seq_length']:,} tokens"
            told = f"longer than {length}; what was not kept was not read"
            if facts.settings.get("long_texts") == "windows":
                told = (
                    f"longer than {facts.settings['max_windows']:,} windows of {length}; what lies beyond was not read"
                )
            yield f"{unread} of the {part} texts are {told}."
    yield from _uneven_labels(facts)
    yield from _coarse_scores(facts)
    labels = facts.run.get("label_names", ())
    if facts.problem_type == SINGLE_LABEL and labels:
        uncalibrated = " The probabilities were not calibrated." if facts.temperature is None else ""
        yield f"Every text gets one of the {len(labels):,} labels, also one that none of them fits.{uncalibrated}"


def _uneven_labels(facts: CardFacts) -> Iterator[str]:
    counts = {label: own.get("train", 0) for label, own in facts.run["data"].get("labels", {}).items()}
    if len(counts) < 2:
        return
    least, most = min(counts, key=lambda label: counts[label]), max(counts, key=lambda label: counts[label])
    if counts[most] >= UNEVEN * max(counts[least], 1):
        yield (
            f"The labels are uneven: {counts[most]:,} training rows of {plain(most)}, {counts[least]:,} of "
            f"{plain(least)}. Look at the scores label by label."
        )


def _coarse_scores(facts: CardFacts) -> Iterator[str]:
    """A part of few rows tells an accuracy roughly; two standard errors of a share say how roughly."""
    for prefix, part in (("eval", "validation"), ("test", "test")):
        rows, accuracy = facts.part(part).get("used"), facts.scores(prefix).get("accuracy")
        if rows and rows < SMALL_PART:
            known = ""
            if accuracy is not None:
                # where no row, or every one, is wrong: the rule of three
                width = 2 * math.sqrt(accuracy * (1 - accuracy) / rows) or 3 / rows
                known = f": its accuracy of {number(accuracy)} is known to about {width:.2f}"
            yield f"The {part} part has {rows:,} rows{known}."


def _language_model_limits(facts: CardFacts) -> Iterator[str]:
    yield (
        "It continues texts by what is likely, not by what is true: it states falsehoods, can offend, and may repeat "
        "passages of its training data, names included. It follows no instructions and was not made safe."
    )
    if facts.base_model is None and not facts.settings.get("model_name_or_path"):
        count = facts.run.get("parameters", {}).get("count")
        size = f" with {count:,} parameters" if count else ""
        yield f"It was trained from scratch{size} on {code(facts.data_name)} alone, and knows nothing else."
    yield f"It was trained on {facts.settings['block_size']:,} tokens at a time; what lies further back was never seen."
