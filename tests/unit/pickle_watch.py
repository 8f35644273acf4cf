"""Tells what is unpickled, and what is pickled into a file: by an audit hook, which stays until its process ends.

`pickle.find_class` is raised by Python's unpickler and by that in C, for each name that a pickle asks for. What needs
no names, such as a dict of numbers, is seen where the functions of the module are called by their module.
"""

import os
import pickle
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

_listeners: list[Callable[[str], object]] = []
_FUNCTIONS = ("load", "loads", "dump")


def _tell(text: str) -> None:
    for listener in _listeners:
        listener(text)


def _hook(event: str, arguments: tuple[object, ...]) -> None:
    if event == "pickle.find_class" and _listeners:
        _tell(f"unpickled {arguments[0]}.{arguments[1]}")


def _telling(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
    def told(*arguments: Any, **named: Any) -> Any:
        _tell(f"called pickle.{name}")
        return function(*arguments, **named)

    return told


sys.addaudithook(_hook)


@contextmanager
def watching() -> Iterator[list[str]]:
    """Yield the list of what is unpickled, or pickled into a file, in this process within the block."""
    seen: list[str] = []
    functions = {name: getattr(pickle, name) for name in _FUNCTIONS}
    _watch(seen.append)
    try:
        yield seen
    finally:
        _listeners.remove(seen.append)
        for name, function in functions.items():
            setattr(pickle, name, function)


def watch_to_file(path: str) -> None:
    """Write all that to a line of `path` from now on, and first of all a line that says who watches."""
    descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    _watch(lambda text: os.write(descriptor, f"{os.getpid()} {text}\n".encode()))
    _tell("watches")


def _watch(listener: Callable[[str], object]) -> None:
    _listeners.append(listener)
    for name in _FUNCTIONS:
        setattr(pickle, name, _telling(name, getattr(pickle, name)))
