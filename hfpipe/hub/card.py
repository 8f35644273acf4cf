"""The model card: README.md in the run directory at the end of every run, and in every commit on the Hub.

It says nothing that the record of the run does not: where a fact is unknown, its sentence is missing. The metrics are
those of the weights it lies beside, which is why each push of a checkpoint has a card of its own.
"""

from hfpipe.config.sections import MULTI_LABEL, REGRESSION
from hfpipe.hub.card_code import usage_lines
from hfpipe.hub.card_facts import CardFacts
from hfpipe.hub.card_limits import limit_lines, source_lines
from hfpipe.hub.card_metadata import build_metadata
from hfpipe.hub.card_results import (
    data_lines,
    environment_lines,
    label_lines,
    linked_data,
    result_lines,
    training_lines,
)
from hfpipe.hub.card_text import code, plain


def render_card(facts: CardFacts) -> str:
    """Return the card: metadata as YAML, then Markdown."""
    lines = [
        "---",
        build_metadata(facts).to_yaml(),
        "---",
        "",
        f"# {plain(facts.name)}",
        "",
        f"{_summary(facts)}",
        "",
        *result_lines(facts),
        *usage_lines(facts),
        *label_lines(facts),
        *data_lines(facts),
        *training_lines(facts),
        *limit_lines(facts),
        *environment_lines(facts),
        *source_lines(facts),
        "Made with hfpipe, around the Trainer of transformers.",
    ]
    return "\n".join(lines) + "\n"


def _summary(facts: CardFacts) -> str:
    rows = facts.part("train").get("used")
    unit = "documents" if facts.is_language_model else "rows"
    trained = linked_data(facts) + (f" ({rows:,} {unit})" if rows is not None else "")
    return f"{_what(facts)}: {_origin(facts)} on {trained}."


def _what(facts: CardFacts) -> str:
    if facts.is_language_model:
        return "A causal language model"
    labels = [f"**{plain(label)}**" for label in facts.run.get("label_names", ())]
    pairs = " of two texts" if facts.settings.get("text_pair_column_name") else ""
    if facts.problem_type == REGRESSION:
        return f"A model that gives a text a number{pairs}, {labels[0] if labels else 'its score'}"
    several = "; any number of them a text" if facts.problem_type == MULTI_LABEL else ""
    shown = ", ".join(labels) if len(labels) <= 8 else f"{len(labels):,} labels"
    return f"A text classifier{pairs} ({shown}{several})"


def _origin(facts: CardFacts) -> str:
    adapter = " by LoRA" if facts.settings.get("use_peft") else ""
    if facts.base_model is not None:
        return f"[{facts.base_model}](https://huggingface.co/{facts.base_model}) trained further{adapter}"
    if facts.settings.get("model_name_or_path"):
        return f"the checkpoint {code(str(facts.settings['model_name_or_path']))} trained further{adapter}"
    return "trained from scratch"
