"""The code of a card: plain transformers, to be run as it stands, and what `hfpipe predict` does beyond it."""

import json
from collections.abc import Iterator

from hfpipe.config.baseline_models import OWN_CLASSES
from hfpipe.config.cleaning_names import select_text_steps
from hfpipe.config.sections import MULTI_LABEL, REGRESSION
from hfpipe.hub.card_facts import THIS_FOLDER, CardFacts
from hfpipe.hub.card_text import code


def usage_lines(facts: CardFacts) -> Iterator[str]:
    """Yield the section on how to use the model."""
    yield from ("## How to use", "")
    if _is_own_class(facts):
        told = "It is a model of hfpipe: with that installed, `import hfpipe.models` makes transformers know it."
        yield from (f"{told} No code comes with the weights.", "")
    yield from ("```python", *_code(facts), "```", "")
    if facts.model_id == THIS_FOLDER:
        yield from ("`.` is the folder of this card; a name on the Hub takes its place once the model is there.", "")
    yield from (f"{note}\n" for note in (*_notes(facts), *_cleaning_notes(facts)))
    if facts.settings.get("use_peft") and not facts.is_adapter:
        yield from ("The LoRA adapter is merged into the model; `adapter/` has it by itself, for peft.", "")


def _is_own_class(facts: CardFacts) -> bool:
    """Return whether transformers has to be told of the model's class by an import of hfpipe."""
    return facts.run.get("parameters", {}).get("class") in OWN_CLASSES


def _code(facts: CardFacts) -> Iterator[str]:
    if _is_own_class(facts):
        yield "import hfpipe.models  # before the model is loaded"
    if facts.is_adapter:
        yield from _adapter_code(facts)
    elif facts.is_language_model:
        yield from (
            "from transformers import pipeline",
            "",
            f'generator = pipeline("text-generation", model={_model(facts)})',
            'print(generator("Once upon a time", max_new_tokens=40, do_sample=True, top_p=0.95))',
        )
    else:
        length = facts.settings["max_seq_length"]
        yield from (
            "from transformers import pipeline",
            "",
            f'classifier = pipeline("text-classification", model={_model(facts)})',
        )
        if facts.settings.get("long_texts") == "tail":
            yield 'classifier.tokenizer.truncation_side = "left"'
        yield from _ask_pipeline(
            facts, f"classifier({_input(facts)}, top_k=None, truncation=True, max_length={length})"
        )


def _ask_pipeline(facts: CardFacts, call: str) -> Iterator[str]:
    """Yield a call of the pipeline, and the line that makes calibrated probabilities of its scores."""
    if facts.temperature is None:
        yield f"print({call})"
        return
    # softmax(logits / T), or the sigmoid, by probabilities alone: a pipeline does not tell logits and both at once
    exponent = f"(1 / {facts.temperature:.6g})"
    yield f"scores = {{each['label']: each['score'] for each in {call}}}"
    if facts.problem_type == MULTI_LABEL:
        yield f"odds = {{label: (p / max(1 - p, 1e-12)) ** {exponent} for label, p in scores.items()}}"
        yield "print({label: each / (1 + each) for label, each in odds.items()})  # calibrated"
    else:
        yield f"powers = {{label: p ** {exponent} for label, p in scores.items()}}"
        yield "print({label: each / sum(powers.values()) for label, each in powers.items()})  # calibrated"


def _adapter_code(facts: CardFacts) -> Iterator[str]:
    task = "CausalLM" if facts.is_language_model else "SequenceClassification"
    labels = list(facts.run.get("label_names", ()))
    given = "" if facts.is_language_model else ", num_labels=len(labels)"
    names = [] if facts.is_language_model else [f"labels = {labels!r}"]
    if facts.base_model is None:
        folder = json.dumps(str(facts.settings.get("model_name_or_path")), ensure_ascii=False)
        yield from (
            "from peft import PeftModel",
            f"from transformers import AutoModelFor{task}, AutoTokenizer",
            "",
            *names,
            "# the folder of the checkpoint it began from, which is not on the Hub",
            f"base = AutoModelFor{task}.from_pretrained({folder}{given})",
            f"model = PeftModel.from_pretrained(base, {_model(facts)}).eval()",
        )
    else:
        yield from (
            f"from peft import AutoPeftModelFor{task}",
            "from transformers import AutoTokenizer",
            "",
            *names,
            f"model = AutoPeftModelFor{task}.from_pretrained({_model(facts)}{given}).eval()",
        )
    yield f"tokenizer = AutoTokenizer.from_pretrained({_model(facts)})"
    yield from _ask_language_model() if facts.is_language_model else _ask_classifier(facts)


def _ask_language_model() -> Iterator[str]:
    yield from (
        'inputs = tokenizer("Once upon a time", return_tensors="pt")',
        "print(tokenizer.decode(model.generate(**inputs, max_new_tokens=40, do_sample=True, top_p=0.95)[0]))",
    )


def _ask_classifier(facts: CardFacts) -> Iterator[str]:
    texts = (
        '"The first text", "The second text"' if facts.settings.get("text_pair_column_name") else '"A text to judge"'
    )
    length = facts.settings["max_seq_length"]
    scores = {MULTI_LABEL: "logits.sigmoid()", REGRESSION: "logits"}.get(facts.problem_type, "logits.softmax(-1)")
    yield from (
        f'inputs = tokenizer({texts}, truncation=True, max_length={length}, return_tensors="pt")',
        "logits = model(**inputs).logits[0]",
        f"print(dict(zip(labels, {scores}.tolist())))",
    )


def _model(facts: CardFacts) -> str:
    return f'"{facts.model_id}"' + (f', revision="{facts.revision}"' if facts.revision else "")


def _input(facts: CardFacts) -> str:
    if facts.settings.get("text_pair_column_name"):
        return '{"text": "The first text", "text_pair": "The second text"}'
    return '"A text to judge"'


def _notes(facts: CardFacts) -> Iterator[str]:
    if facts.is_language_model or facts.is_adapter:
        return
    if facts.temperature is not None:
        formula = "1 / (1 + (1/p - 1)^(1/T))" if facts.problem_type == MULTI_LABEL else "p^(1/T), divided by their sum"
        yield (
            f"The scores of a pipeline are not calibrated: with the temperature T = {facts.temperature:.6g}, fitted on "
            f"the validation part, a score p becomes {formula}. `hfpipe predict` does so by itself."
        )
    if facts.evaluation is not None and facts.evaluation.thresholds is not None:
        aim, values = facts.evaluation.thresholds.aim, facts.evaluation.thresholds.values
        listed = ", ".join(f"{code(name)} from {value:.4g} on" for name, value in values.items())
        yield f"`hfpipe predict` gives labels by thresholds chosen on the validation part for {aim}: {listed}."
    elif facts.problem_type == MULTI_LABEL:
        yield "Each label has a probability of its own; a text has those labels whose probability is at least 0.5."
    if facts.problem_type == REGRESSION:
        yield "The score is the number itself, as in the training data."
    columns = facts.settings.get("text_column_names") or ()
    if len(columns) > 1:
        delimiter = facts.settings.get("text_column_delimiter")
        names = ", ".join(map(code, columns))
        yield f"The model was trained on the columns {names} joined by {delimiter!r}: join yours in the same way."
    yield from _long_text_notes(facts)


def _cleaning_notes(facts: CardFacts) -> Iterator[str]:
    """Yield what a text has to go through before it is given to a pipeline, which knows nothing of it."""
    steps = select_text_steps(facts.settings.get("cleaning_steps") or ())
    if not steps:
        return
    listed = ", ".join(map(code, steps))
    if facts.is_language_model:
        yield f"The texts it was trained on were cleaned by {listed}, in this order."
        return
    call = f"apply_steps(text, {steps!r})"
    yield (
        f"Every text was cleaned by {listed}, in this order, before the model saw it: clean yours in the same way, or "
        f"the scores are not those of the report. `from hfpipe.data.cleaning_steps import apply_steps` brings "
        f"{code(call)}; `hfpipe predict` does so by itself."
    )


def _long_text_notes(facts: CardFacts) -> Iterator[str]:
    length = f"{facts.settings['max_seq_length']:,} tokens"
    command = "`hfpipe predict FOLDER FILE.csv` reads them as in training; FOLDER is where this repository was put."
    if facts.settings.get("long_texts") == "windows":
        pooling = facts.settings.get("window_pooling")
        yield (
            f"Texts over {length} were read in overlapping windows whose logits are pooled ({pooling}). The code above "
            f"sees the first window alone; {command}"
        )
    if facts.settings.get("long_texts") == "head_tail":
        yield (
            f"Of texts over {length} the model was trained on head and tail. The code above keeps the head alone; "
            f"{command}"
        )
