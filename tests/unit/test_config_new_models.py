"""Settings of models from scratch: one of model_name_or_path and model_type, and what a model of old cannot have."""

import pytest

from hfpipe.config import load_config
from hfpipe.config.baseline_models import CLASSIFIER_BASELINES, LANGUAGE_BASELINES, OWN_CLASSIFIERS
from hfpipe.config.keys import read_keys
from hfpipe.config.sections import FINETUNE, PRETRAIN
from hfpipe.errors import ConfigError

DATA = "--train_file=a.csv"


def problems(*words: str, recipe: str = FINETUNE) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        load_config([DATA, *words], recipe=recipe)
    return [str(problem) for problem in caught.value.problems]


def test_a_classifier_needs_a_checkpoint_or_an_architecture() -> None:
    rule = "no model to fine-tune is given; set it to a folder, a name on the Hub, or demo:minilm; for a new model set"
    assert problems() == [f"model_name_or_path: {rule} model_type"]
    assert problems("model_size=tiny") == [f"model_name_or_path: {rule} model_type"]
    model = load_config([DATA, "model_type=hfpipe_lstm", "vocab_size=1000"], recipe=FINETUNE).model
    assert (model.model_name_or_path, model.model_type, model.vocab_size) == (None, "hfpipe_lstm", 1000)


def test_it_cannot_have_both() -> None:
    assert problems("model_type=hfpipe_lstm", "model_name_or_path=demo:minilm") == [
        "model_type=hfpipe_lstm: has no effect beside model_name_or_path, which has them already; remove one of them"
    ]


def test_a_vocabulary_is_that_of_the_tokenizer() -> None:
    found = problems("model_type=hfpipe_gru", "tokenizer_name=demo:minilm", "vocab_size=1000")
    assert len(found) == 1 and "has no effect beside tokenizer_name" in found[0]


@pytest.mark.parametrize("model_type", OWN_CLASSIFIERS)
def test_what_a_model_of_old_cannot_have_is_refused(model_type: str) -> None:
    found = problems(f"model_type={model_type}", "gradient_checkpointing=true", "use_peft=true")
    assert len(found) == 2
    assert f"{model_type} has little to leave out of memory, and does not know it; remove it" in found[0]
    assert "an adapter changes a model that is there, and none is named" in found[1]


def test_a_textcnn_continues_no_text() -> None:
    found = problems("model_type=hfpipe_textcnn", recipe=PRETRAIN)
    assert len(found) == 1
    assert found[0].endswith("judges texts and continues none; use hfpipe_lstm or hfpipe_gru, or one of transformers")


@pytest.mark.parametrize("recipe", [FINETUNE, PRETRAIN])
def test_the_settings_of_baselines_are_settings(recipe: str) -> None:
    baselines = CLASSIFIER_BASELINES if recipe == FINETUNE else LANGUAGE_BASELINES
    for baseline in baselines.values():
        settings = baseline.settings()
        assert settings.keys() <= read_keys().keys()
        words = [f"{key}={value}" for key, value in settings.items() if value and key != "config_overrides"]
        config = load_config([DATA, *words], recipe=recipe)
        assert config.model.model_type == baseline.model_type
