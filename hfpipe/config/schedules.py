"""What `lr_scheduler_kwargs` may hold: the arguments of the chosen schedule, read from the installed source.

Nothing of transformers or torch is imported. A schedule that the source does not show is left to Trainer; those of
`decays` are hfpipe's own.
"""

import ast
import difflib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache

from hfpipe.config.decays import ARGUMENTS, DECAYS, find_decay_problems
from hfpipe.config.installed import read_source
from hfpipe.config.settled import Settled
from hfpipe.errors import Problem

METRIC_SCHEDULES = ("reduce_lr_on_plateau", "greedy")
WITHOUT_WARMUP = ("constant", *METRIC_SCHEDULES)
_DEFAULT = "linear"
# Trainer gives these itself.
_TRAINERS_OWN = ("self", "optimizer", "num_warmup_steps", "num_training_steps", "last_epoch")
_FLOORS = ("min_lr", "min_lr_rate")


@dataclass(frozen=True)
class Schedule:
    """The arguments that `lr_scheduler_kwargs` may hold for a schedule, and those that it must."""

    takes: tuple[str, ...]
    needs: tuple[str, ...]


def check_schedule(settled: Settled) -> Iterator[Problem]:
    """Yield a problem for each argument that the chosen schedule does not take, or lacks."""
    if not settled.is_given("lr_scheduler_type") and not settled.has("lr_scheduler_kwargs"):
        return
    name, given = str(settled.get("lr_scheduler_type") or _DEFAULT), settled.get("lr_scheduler_kwargs") or {}
    schedule = read_schedules().get(name)
    if schedule is None or not isinstance(given, Mapping):
        return
    if given and not schedule.takes:
        yield settled.problem("lr_scheduler_kwargs", f"the schedule {name} takes none", "set it to null")
        return
    for key in given:
        if key not in schedule.takes:
            yield settled.problem("lr_scheduler_kwargs", f"the schedule {name} takes no '{key}'", _hint(key, schedule))
    for key in schedule.needs:
        if key not in given:
            yield settled.problem("lr_scheduler_type", f"needs {key}", f"add lr_scheduler_kwargs: {{{key}: 100}}")
    if name in DECAYS:
        for key, rule, remedy in find_decay_problems(name, given, streaming=bool(settled.get("streaming"))):
            yield settled.problem(key, rule, remedy)
    yield from _check_floor(settled, name, schedule, given)
    yield from _check_mode(settled, name, given)


def _hint(key: str, schedule: Schedule) -> str:
    close = difflib.get_close_matches(key, schedule.takes, n=1)
    return f"did you mean '{close[0]}'?" if close else f"it takes {', '.join(schedule.takes)}"


def _check_floor(settled: Settled, name: str, schedule: Schedule, given: Mapping[str, object]) -> Iterator[Problem]:
    if not set(_FLOORS) <= set(schedule.takes):
        return
    floors = [key for key in _FLOORS if given.get(key) is not None]
    if not floors:
        yield settled.problem(
            "lr_scheduler_type", "needs min_lr or min_lr_rate", "add lr_scheduler_kwargs: {min_lr_rate: 0.1}"
        )
    elif len(floors) > 1:
        yield settled.problem(
            "lr_scheduler_kwargs", f"the schedule {name} takes min_lr or min_lr_rate", "remove one of them"
        )


def _check_mode(settled: Settled, name: str, given: Mapping[str, object]) -> Iterator[Problem]:
    mode = "max" if settled.get("greater_is_better") else "min"
    if name in METRIC_SCHEDULES and given.get("mode", mode) != mode:
        metric, direction = settled.get("metric_for_best_model"), "greater" if mode == "max" else "lower"
        yield settled.problem("lr_scheduler_kwargs", f"{metric} is better when {direction}", "leave mode out")


@cache
def read_schedules() -> Mapping[str, Schedule]:
    """Return the schedules of the installed transformers, and hfpipe's own, by their `lr_scheduler_type`."""
    tree = ast.parse(read_source("transformers", "optimization.py"))
    names = _read_names(ast.parse(read_source("transformers", "trainer_utils.py")))
    functions = {node.name: node for node in tree.body if isinstance(node, ast.FunctionDef)}
    installed = {
        names[member]: _read_schedule(functions[function], tree)
        for member, function in _read_table(tree).items()
        if member in names and function in functions
    }
    return {**installed, **dict.fromkeys(DECAYS, Schedule(takes=ARGUMENTS, needs=()))}


def _read_names(tree: ast.Module) -> dict[str, str]:
    return {
        target.id: str(item.value.value)
        for node in tree.body
        if isinstance(node, ast.ClassDef) and node.name == "SchedulerType"
        for item in node.body
        if isinstance(item, ast.Assign) and isinstance(item.value, ast.Constant)
        for target in item.targets
        if isinstance(target, ast.Name)
    }


def _read_table(tree: ast.Module) -> dict[str, str]:
    return {
        key.attr: ast.unparse(value)
        for node in tree.body
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Dict)
        if ast.unparse(node.targets[0]) == "TYPE_TO_SCHEDULER_FUNCTION"
        for key, value in zip(node.value.keys, node.value.values, strict=True)
        if isinstance(key, ast.Attribute)
    }


def _read_schedule(function: ast.FunctionDef, tree: ast.Module) -> Schedule:
    if function.args.kwarg is not None:
        function = _read_constructor(function, tree)
    arguments = [argument.arg for argument in (*function.args.args, *function.args.kwonlyargs)]
    optional = len(function.args.defaults)
    required = [argument.arg for argument in function.args.args][: -optional or None]
    return Schedule(
        takes=tuple(name for name in arguments if name not in _TRAINERS_OWN),
        needs=tuple(name for name in required if name not in _TRAINERS_OWN),
    )


def _read_constructor(function: ast.FunctionDef, tree: ast.Module) -> ast.FunctionDef:
    """Return `__init__` of the class that `function` hands its arguments to: of transformers, else of torch."""
    made = {
        ast.unparse(node.value.func)
        for node in function.body
        if isinstance(node, ast.Return) and isinstance(node.value, ast.Call)
    }
    for source in (tree, ast.parse(read_source("torch", "optim/lr_scheduler.py"))):
        for node in source.body:
            if isinstance(node, ast.ClassDef) and node.name in made:
                return next(item for item in node.body if isinstance(item, ast.FunctionDef) and item.name == "__init__")
    return function
