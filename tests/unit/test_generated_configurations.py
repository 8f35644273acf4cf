"""A thousand broken configurations: one readable problem each, at its line, or exactly the right value."""

import random
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import pytest
from generated_configurations import FILE, Drawn, draw
from slips import draw_slips, slips

from hfpipe.config import load_config
from hfpipe.config.keys import read_keys, suggest_key
from hfpipe.config.recipes import RECIPES
from hfpipe.config.sections import FINETUNE
from hfpipe.config.shipped import find_accelerate_config
from hfpipe.config.values import Scalar, Unfit, parse_value
from hfpipe.errors import ConfigError

SEED = 20_261_122
FAST = 240
ALL = 1_200
SLIPS = 1_000
# Measured 999 of 1,000 names, 107 of 107 values and 208 of 210 files; the names depend on the installed transformers.
SLIPS_RIGHT = 990


@pytest.fixture(autouse=True)
def _in_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def resolve(drawn: Drawn) -> object:
    Path(FILE).write_bytes(drawn.content)
    config = load_config(["--config", FILE, *drawn.argv], recipe=FINETUNE)
    section = read_keys()[drawn.key].section
    return config.trainer_arguments[drawn.key] if section == "trainer" else getattr(getattr(config, section), drawn.key)


def check(drawn: Drawn) -> None:
    if drawn.key:
        value = resolve(drawn)
        assert (value, type(value)) == (drawn.value, type(drawn.value))
        return
    Path(FILE).write_bytes(drawn.content)
    with pytest.raises(ConfigError) as caught:
        load_config(["--config", FILE, *drawn.argv], recipe=FINETUNE)
    messages = [str(problem) for problem in caught.value.problems]
    assert len(messages) == 1, messages
    assert messages[0].startswith(drawn.place), messages
    assert messages[0][len(drawn.place) :][:1] in (":", " ", "="), messages
    assert drawn.words in messages[0], messages
    assert len(messages[0]) < 1_500
    assert messages[0].isprintable()


DRAWN = draw(SEED, FAST)


@pytest.mark.parametrize("drawn", DRAWN, ids=[f"{number}-{drawn.kind}" for number, drawn in enumerate(DRAWN)])
def test_a_drawn_configuration_has_its_value_or_its_problem(drawn: Drawn) -> None:
    check(drawn)


@pytest.mark.slow
def test_all_drawn_configurations_have_their_value_or_their_problem() -> None:
    drawn = draw(SEED, ALL)
    for each in drawn:
        check(each)
    assert set(Counter(each.kind for each in drawn).values()) == {ALL // 12}


def count_right(pairs: Sequence[tuple[str, str]], suggested: Sequence[str | None]) -> int:
    return sum(meant == found for (_, meant), found in zip(pairs, suggested, strict=True))


def test_a_slip_in_any_known_name_is_answered_with_the_name() -> None:
    pairs = list(draw_slips(SEED, SLIPS))
    right = count_right(pairs, [suggest_key(slip) for slip, _ in pairs])
    assert right >= SLIPS_RIGHT


def suggested_choice(slip: str, choices: Sequence[str]) -> str | None:
    key = next(key for key in read_keys().values() if key.bounds.choices == tuple(choices))
    with pytest.raises(Unfit) as caught:
        parse_value(Scalar(slip), key.value_type, key.bounds)
    return caught.value.remedy.removeprefix("did you mean '").removesuffix("'?") or None


def suggested_recipe(slip: str) -> str | None:
    Path(FILE).write_text(f"recipe: {slip}\n", encoding="utf-8")
    with pytest.raises(ConfigError) as caught:
        load_config(["--config", FILE])
    return caught.value.problems[0].remedy.removeprefix("did you mean '").removesuffix("'?")


def test_a_slip_in_a_value_with_choices_is_answered_with_the_value() -> None:
    rng = random.Random(SEED)
    groups = sorted({key.bounds.choices for key in read_keys().values() if key.bounds.choices})
    words = [(choice, group) for group in groups for choice in group if len(choice) > 3]
    pairs = [(rng.choice([slip for slip in slips(choice) if slip not in group]), choice) for choice, group in words]
    right = count_right(
        pairs, [suggested_choice(slip, group) for (slip, _), (_, group) in zip(pairs, words, strict=True)]
    )
    assert right >= 0.99 * len(pairs)


@pytest.mark.parametrize("recipe", RECIPES)
def test_every_slip_in_the_name_of_a_recipe_is_answered_with_it(recipe: str) -> None:
    for slip in [slip for slip in slips(recipe) if slip[0].isalpha()][::9]:
        assert suggested_recipe(slip) == recipe


def suggested_accelerate_file(slip: str) -> str:
    with pytest.raises(ConfigError) as caught:
        find_accelerate_config(slip)
    return caught.value.problems[0].remedy.removeprefix("did you mean '").removesuffix("'?")


def test_a_slip_in_the_name_of_an_accelerate_file_is_answered_with_it() -> None:
    rng = random.Random(SEED)
    names = ("single_gpu", "multi_gpu", "multi_cpu", "fsdp2", "deepspeed_zero2", "deepspeed_zero3", "multi_node")
    pairs = [(slip, name) for name in names for slip in rng.sample(sorted({*slips(name)} - {*names}), 30)]
    right = count_right(pairs, [suggested_accelerate_file(slip) for slip, _ in pairs])
    assert right >= 0.95 * len(pairs)
