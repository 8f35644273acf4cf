"""Configurations drawn by a seed, each with its oracle: the value of a key, or the place and words of one problem.

A sound file of a few lines is broken in one way at a time, in the file or on the command line. What is drawn is a key,
a way to break it and where it stands; what must come of it is known from the way, not from the code.
"""

import random
from collections.abc import Callable
from dataclasses import dataclass

from slips import KNOWN, slips

from hfpipe.config.arguments import REFUSED
from hfpipe.config.keys import Key, read_keys
from hfpipe.config.retired import EXPLAINED
from hfpipe.config.sections import FINETUNE

FILE = "run.yaml"
SOUND = (f"recipe: {FINETUNE}", "train_file: a.csv", "model_name_or_path: org/model", "seed: 7")


@dataclass(frozen=True)
class Drawn:
    """A configuration: the bytes of its file, its command line, and what must come of it.

    `place` and `words` are those of its one problem; with `key`, the value it must have instead.
    """

    kind: str
    content: bytes
    argv: tuple[str, ...] = ()
    place: str = ""
    words: str = ""
    key: str = ""
    value: object = None


def draw(seed: int, count: int) -> list[Drawn]:
    """Return so many configurations, each way of breaking one as often as the others."""
    rng = random.Random(seed)
    drawn: list[Drawn] = []
    while len(drawn) < count:
        drawn.append(_WAYS[len(drawn) % len(_WAYS)](rng))
    return drawn


def _file(rng: random.Random, *lines: str) -> tuple[bytes, int]:
    """Return the sound file with `lines` at a place that is drawn, and the number of the first of them."""
    at = rng.randrange(1, len(SOUND) + 1)
    return "\n".join([*SOUND[:at], *lines, *SOUND[at:], ""]).encode(), at + 1


def _wrong(rng: random.Random, kind: str, key: str, value: str, words: str) -> Drawn:
    """Return a wrong value of a key, in the file or on the command line."""
    if rng.random() < 0.7 or value.startswith(("--", "[", "{")):
        content, line = _file(rng, f"{key}: {value}")
        return Drawn(kind, content, (), f"{FILE}:{line}", words)
    words_of_line = rng.choice([(f"--{key}", value), (f"--{key}={value}",), (f"{key}={value}",)])
    return Drawn(kind, _file(rng)[0], words_of_line, key if words_of_line[0].startswith(key) else f"--{key}", words)


def _keys(test: Callable[[Key], bool]) -> list[Key]:
    given = {line.partition(":")[0] for line in SOUND}
    return [key for key in read_keys().values() if FINETUNE in key.recipes and key.name not in given and test(key)]


def _is_scalar(key: Key, *kinds: str) -> bool:
    forms = key.value_type
    return forms.scalars in [(kind,) for kind in kinds] and not (forms.items or forms.entries or forms.comma_list)


def _typo(rng: random.Random) -> Drawn:
    key = rng.choice(_keys(lambda key: len(key.name) > 4)).name
    slip = rng.choice([word for word in slips(key) if word not in KNOWN and word[0].isalpha()])
    if rng.random() < 0.7:
        content, line = _file(rng, f"{slip}: 1")
        return Drawn("typo", content, (), f"{FILE}:{line}", f"{slip}: no such setting; did you mean '")
    return Drawn("typo", _file(rng)[0], (f"--{slip}", "1"), f"--{slip}", "no such setting; did you mean '")


def _duplicate(rng: random.Random) -> Drawn:
    key = rng.choice(_keys(lambda key: True)).name
    first, second = rng.choice([(key, key), (key.replace("_", "-"), key), (key, key.replace("_", "-"))])
    if rng.random() < 0.5:
        content, line = _file(rng, f"{first}: null", "# again", f"{second}: null")
        return Drawn(
            "duplicate", content, (), f"{FILE}:{line + 2}", f"given already at {FILE}:{line}; keep one of them"
        )
    return Drawn("duplicate", _file(rng)[0], (f"--{first}=null", f"--{second}", "null"), f"--{second}", "given twice")


def _wrong_type(rng: random.Random) -> Drawn:
    key = rng.choice(_keys(lambda key: _is_scalar(key, "bool", "int", "float") and not key.bounds.choices))
    kind = key.value_type.scalars[0]
    values = {
        "bool": ["maybe", "2", "ja", "1.0", "2024-01-01"],
        "int": ["many", "true", "1.5", "0x10", "1__0", "2024-01-01", "12:30:45", "1e400x", "\u0663", "0b1", "0o17"],
        "float": ["many", "true", "1,5", "5%", "0x10", "2024-01-01", "12:30:45", "1e", "--", "1_", "one"],
    }[kind]
    told = {"bool": "must be true or false", "int": "must be a whole number", "float": "must be a number"}[kind]
    value = rng.choice([*values, "[1, 2]", "{a: 1}", "[]"])
    return _wrong(rng, "wrong type", key.name, value, told)


def _out_of_range(rng: random.Random) -> Drawn:
    def has_limits(key: Key) -> bool:
        return _is_scalar(key, "int", "float") and bool(str(key.bounds))

    key = rng.choice(_keys(has_limits))
    bounds = key.bounds
    wrong = [str(limit - 1) for limit in (bounds.minimum,) if limit is not None and limit - 1 != bounds.also]
    wrong += ["-3", "-1000000"] if bounds.minimum is not None or bounds.above is not None else []
    wrong += [str(limit) for limit in (bounds.above, bounds.below) if limit is not None]
    wrong += [str(limit * 2 + 1) for limit in (bounds.maximum, bounds.below) if limit is not None]
    value = rng.choice(wrong)
    value = str(int(float(value))) if key.value_type.scalars == ("int",) else value
    return _wrong(rng, "out of range", key.name, value, str(bounds))


def _not_finite(rng: random.Random) -> Drawn:
    key = rng.choice(_keys(lambda key: _is_scalar(key, "int", "float")))
    value = rng.choice(["nan", "NaN", ".nan", "inf", "-inf", ".inf", "-.INF", "Infinity", "+inf"])
    return _wrong(rng, "not finite", key.name, value, "must be a finite number")


def _no_choice(rng: random.Random) -> Drawn:
    key = rng.choice(_keys(lambda key: _is_scalar(key, "str") and len(key.bounds.choices) > 1))
    choice = rng.choice([choice for choice in key.bounds.choices if len(choice) > 3] or ["banana"])
    value = rng.choice(
        [word for word in slips(choice) if word not in key.bounds.choices and word.isalpha()] or ["xyzzy"]
    )
    return _wrong(rng, "no choice", key.name, value, f"must be one of {', '.join(key.bounds.choices)}")


def _dangerous(rng: random.Random) -> Drawn:
    key = rng.choice(["output_dir", "run_name", "label_names", "sample_texts"])
    tags, anchors = "tags are not allowed", "anchors and aliases are not allowed"
    laughs = [f"{key}: &a0 [lol]", *(f"b{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 9))]
    lines, after, words = rng.choice(
        [
            ([f"{key}: !!python/object/apply:os.system ['true']"], 0, tags),
            ([f"{key}: !!python/name:os.system x"], 0, tags),
            ([f"{key}: !!python/object:hfpipe.errors.Problem {{}}"], 0, tags),
            ([f"{key}: !!binary aGVsbG8="], 0, tags),
            ([f"{key}: !!timestamp 2024-01-01"], 0, tags),
            ([f"{key}: !custom x"], 0, tags),
            ([f"{key}: !!str 5"], 0, tags),
            ([f"{key}: &x [a]", "run_name: *x"], 0, anchors),
            (laughs, 0, anchors),
            ([f"{key}: *missing"], 0, anchors),
            (["<<: {seed: 1}"], 0, "no such setting"),
            ([f"{key}: {'[' * 30}{']' * 30}"], 0, "is nested more than 10 deep"),
            ([f"{key}: [a, b"], 1, "is not YAML"),
            ([f"{key}: 'a"], None, "is not YAML"),
            ([f"{key}: a: b"], 0, "is not YAML"),
            ([f"\t{key}: a"], 0, "indent with spaces, not with tabs"),
            ([f"{key}: \x07"], 0, "holds a control character"),
            (["---", "seed: 1"], 0, "is not YAML: but found another document"),
            ([f'{key}: "\\ud800"'], 0, "holds half a character"),
            (["? [a, b]", ": c"], 0, "a key must be a word"),
            (["'': c"], 0, "a key must be a word"),
        ]
    )
    content, line = _file(rng, *lines)
    place = FILE if after is None else f"{FILE}:{line + after}"
    return Drawn("dangerous", content, (), place, words)


def _no_file(rng: random.Random) -> Drawn:
    content, place, words = rng.choice(
        [
            (b"", FILE, "must be a mapping"),
            (b"\n\n# nothing\n", FILE, "must be a mapping"),
            (b"- recipe\n", FILE, "must be a mapping"),
            (b"finetune_classifier", FILE, "must be a mapping"),
            (b"5", FILE, "must be a mapping"),
            (bytes(range(128, 256)), FILE, "is not UTF-8"),
            (b"\x89PNG\r\n\x1a\n\0\0", FILE, "is not UTF-8"),
            ("\n".join(SOUND).encode("utf-16"), FILE, "is not UTF-8"),
            (b"PK\x03\x04\0\0", f"{FILE}:1", "holds a control character"),
            (b"# " + b"x" * 1_000_001, FILE, "is over 1,000,000 bytes"),
        ]
    )
    return Drawn("no file", content, (), place, words)


def _wrong_recipe(rng: random.Random) -> Drawn:
    rest = list(SOUND[1:])
    near = "no such recipe; did you mean 'finetune_classifier'?"
    lines, place, words = rng.choice(
        [
            (rest, FILE, "must begin with its recipe"),
            ([rest[0], SOUND[0], *rest[1:]], f"{FILE}:2", "must be the first key of the file"),
            (["recipe: finetune_clasifier", *rest], f"{FILE}:1", near),
            (["recipe: Finetune_classifier", *rest], f"{FILE}:1", near),
            (["recipe: banana", *rest], f"{FILE}:1", "no such recipe; the recipes are"),
            (["recipe:", *rest], f"{FILE}:1", "no such recipe"),
            (["recipe: [finetune_classifier]", *rest], f"{FILE}:1", "no such recipe"),
            (["recipe: pretrain_causal_lm", *rest], f"{FILE}:1", "this file is for pretrain_causal_lm"),
            ([SOUND[0], *SOUND], f"{FILE}:2", f"given already at {FILE}:1"),
        ]
    )
    return Drawn("wrong recipe", "\n".join(lines).encode(), (), place, words)


def _wrong_words(rng: random.Random) -> Drawn:
    key = rng.choice(_keys(lambda key: _is_scalar(key, "int", "float"))).name
    stands = "belongs to no setting"
    argv, place, words = rng.choice(
        [
            ((f"--{key}",), f"--{key}", "needs a value"),
            ((f"--{key}=",), f"--{key}", "must be"),
            ((f"{key}=",), key, "must be"),
            ((f"--{key}", "--use_cpu"), f"--{key}", "needs a value"),
            ((f"-{key}", "1"), f"-{key}", stands),
            ((f"-{key}=1",), f"-{key}=1", stands),
            (("run2.yaml",), "run2.yaml", stands),
            (("--recipe", "finetune_classifier"), "--recipe", "is no flag"),
            ((f"--{key[:-2]}zq", "1"), f"--{key[:-2]}zq", "no such setting"),
            (("--learning_r", "1"), "--learning_r", "no such setting; did you mean 'learning_rate'?"),
            ((f"--{key}", "\udcff"), f"--{key}", "is not UTF-8"),
        ]
    )
    if argv[0].startswith("-") and not argv[0].startswith("--") and len(argv) == 2:
        argv = (argv[0],)
    return Drawn("wrong words", _file(rng)[0], argv, place, words)


def _retired(rng: random.Random) -> Drawn:
    key = rng.choice(sorted({*EXPLAINED, *REFUSED}))
    reason = EXPLAINED[key].partition(";")[0] if key not in REFUSED else REFUSED[key].reason
    return _wrong(rng, "retired", key, "true", reason)


def _right(rng: random.Random) -> Drawn:
    """A value that YAML itself would read as something else, or that is written in another of its forms."""
    key, text, value = rng.choice(
        [
            ("learning_rate", "1e-4", 1e-4),
            ("learning_rate", "3E-05", 3e-5),
            ("learning_rate", ".001", 0.001),
            ("learning_rate", "1.", 1.0),
            ("seed", "0123", 123),
            ("seed", "1_000", 1000),
            ("seed", "1e3", 1000),
            ("max_steps", "'20'", 20),
            ("max_steps", "+20", 20),
            ("max_steps", "20.0", 20),
            ("warmup_steps", "100.0", 100),
            ("warmup_steps", "0.1", 0.1),
            ("num_train_epochs", "2.5", 2.5),
            ("use_cpu", "yes", True),
            ("use_cpu", "on", True),
            ("use_cpu", "1", True),
            ("use_cpu", "True", True),
            ("bf16", "off", False),
            ("bf16", "No", False),
            ("bf16", "FALSE", False),
            ("run_name", "2024-01-01", "2024-01-01"),
            ("run_name", "no", "no"),
            ("run_name", "12:30:45", "12:30:45"),
            ("run_name", "0123", "0123"),
            ("run_name", "1e5", "1e5"),
            ("run_name", "'null'", "null"),
            ("run_name", "nan", "nan"),
            ("run_name", "\U0001f600 é", "\U0001f600 é"),
            ("label_column_name", "y", "y"),
            ("text_column_names", "on", ("on",)),
            ("text_column_names", "[a, 'b, c']", ("a", "b, c")),
            ("label_names", "{0: no, 1: yes}", {"0": "no", "1": "yes"}),
            ("label_names", "{01: a}", {"01": "a"}),
            ("field_delimiter", '"\\t"', "\t"),
            ("field_delimiter", "';'", ";"),
        ]
    )
    if rng.random() < 0.7 or text[0] in "'\"":
        return Drawn("right", _file(rng, f"{key}: {text}")[0].replace(b"seed: 7\n", b""), (), key=key, value=value)
    argv = rng.choice(
        [(f"--{key}", text), (f"--{key}={text}",), (f"{key}={text}",), (f"--{key.replace('_', '-')}", text)]
    )
    return Drawn("right", _file(rng)[0], argv, key=key, value=value)


_WAYS = (
    *(_typo, _duplicate, _wrong_type, _out_of_range, _not_finite, _no_choice, _dangerous, _no_file, _wrong_recipe),
    *(_wrong_words, _retired, _right),
)
