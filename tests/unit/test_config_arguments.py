"""The table of `TrainingArguments` fields against the installed version, and the keys made of it."""

import ast
import dataclasses
import sys
from pathlib import Path

import pytest

import hfpipe.config
from hfpipe.config import RECIPES, change_of
from hfpipe.config.arguments import ACCEPTED, OURS, PASSED, REFUSED
from hfpipe.config.installed import read_installed_fields, read_reporters
from hfpipe.config.keys import TRAINER_SECTION, read_keys, read_retired, suggest_key
from hfpipe.config.plan import METRICS
from hfpipe.config.retired import CHECKPOINTING, EXPLAINED, SUCCESSORS
from hfpipe.config.sections import FINETUNE, MULTI_LABEL, PRETRAIN, REGRESSION, SECTIONS, SINGLE_LABEL
from hfpipe.config.values import ValueType

# In the table, and not in every tested version.
SINCE_5_23 = {"activation_checkpointing", "activation_checkpointing_kwargs"}


def test_every_installed_field_stands_in_the_table_once() -> None:
    names = [*PASSED, *OURS, *REFUSED, *ACCEPTED]
    assert len(names) == len(set(names))
    assert set(read_installed_fields()) - set(names) == set()
    assert set(names) - set(read_installed_fields()) <= SINCE_5_23


def test_a_field_name_stands_once_over_sections_and_passed_arguments() -> None:
    names = [field.name for settings in SECTIONS.values() for field in dataclasses.fields(settings)]
    assert len(names) == len(set(names))
    assert set(names) & set(PASSED) == set()
    assert set(names) & set(read_installed_fields()) == set(OURS)


def test_retired_names_are_no_keys_and_lead_to_keys() -> None:
    assert set(read_keys()) & (set(SUCCESSORS) | set(EXPLAINED)) == set()
    assert set(read_installed_fields()) & (set(SUCCESSORS) | set(EXPLAINED)) == set()
    assert set(read_retired().values()) <= set(read_keys())


def test_recipe_defaults_are_passed_arguments() -> None:
    kinds = {PRETRAIN: (PRETRAIN,), FINETUNE: (SINGLE_LABEL, MULTI_LABEL, REGRESSION)}
    assert kinds.keys() == RECIPES.keys() and set().union(*kinds.values()) == METRICS.keys()
    for recipe in RECIPES.values():
        assert set(recipe.defaults) <= set(PASSED)
        assert all(recipe.defaults["metric_for_best_model"] in METRICS[kind] for kind in kinds[recipe.name])


def test_checkpointing_is_known_by_one_name() -> None:
    assert [name for pair in CHECKPOINTING.items() for name in pair if name in read_keys()] == [
        name if name in read_installed_fields() else old for old, name in CHECKPOINTING.items()
    ]


def test_types_are_read_from_annotations() -> None:
    keys = read_keys()
    assert keys["learning_rate"].value_type == ValueType(("float",))
    assert keys["report_to"].value_type == ValueType(("str",), items=True, optional=True, comma_list=True)
    assert keys["lr_scheduler_kwargs"].value_type == ValueType(entries=("any",), optional=True)
    assert keys["trackio_static_space_id"].value_type == ValueType(("bool", "str"), optional=True)
    assert keys["train_file"].value_type == ValueType(items=True, optional=True)
    assert keys["class_weights"].value_type == ValueType(("str",), entries=("float",), optional=True)
    assert keys["config_overrides"].value_type.entries == ("bool", "int", "float", "str")


def test_choices_are_read_from_enumerations() -> None:
    assert read_keys()["eval_strategy"].bounds.choices == ("no", "steps", "epoch")
    assert "warmup_stable_decay" in read_keys()["lr_scheduler_type"].bounds.choices
    assert "adamw_torch_fused" in read_keys()["optim"].bounds.choices
    assert {"tensorboard", "wandb", "trackio", "all", "none"} <= set(read_reporters())


@pytest.mark.parametrize(
    ("key", "change"),
    [
        ("num_train_epochs", "extendable"),
        ("max_steps", "extendable"),
        ("gradient_accumulation_steps", "splitting"),
        ("per_device_train_batch_size", "splitting"),
        ("per_device_eval_batch_size", "free"),
        ("output_dir", "free"),
        ("train_file", "identity"),
        ("no_such_key", "identity"),
    ],
)
def test_change_of(key: str, change: str) -> None:
    assert change_of(key) == change


def test_words_that_resemble_nothing_suggest_nothing() -> None:
    assert suggest_key("banana") is None


def test_config_imports_nothing_slow() -> None:
    allowed = {*sys.stdlib_module_names, "yaml", "psutil", "hfpipe"}
    files = sorted(Path(hfpipe.config.__path__[0]).glob("*.py"))
    assert len(files) > 15
    for path in files:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            for name in names:
                assert name.split(".")[0] in allowed, f"{path.name} imports {name}"
                own = name.split(".")[1] if name.startswith("hfpipe.") else "config"
                assert own in ("config", "errors", "secrecy"), path.name


def test_every_key_of_the_trainer_section_is_passed() -> None:
    trainer = {name for name, key in read_keys().items() if key.section == TRAINER_SECTION}
    assert trainer == set(PASSED) & set(read_installed_fields()) - set(
        CHECKPOINTING if set(read_installed_fields()) >= SINCE_5_23 else ()
    )
