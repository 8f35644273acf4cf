"""A forked child that never begins is given up and forked again; others are waited for."""

import multiprocessing
import time

import pytest
from forked_hang import fork_where_the_first_hangs

from hfpipe.training.forks import AskedForks, find_context


def test_a_child_that_never_begins_is_forked_again() -> None:
    context = multiprocessing.get_context("spawn")
    own, childs = context.Pipe()
    process = context.Process(target=fork_where_the_first_hangs, args=(childs, 0.5))
    process.start()
    said = own.poll(60) and own.recv()
    process.kill()
    assert said == ("begun", 2, 0)


def test_a_child_is_what_its_parent_expects() -> None:
    context = find_context("fork")
    child = context.Process(target=time.sleep, args=(60,))
    child.start()
    assert multiprocessing.active_children() == [child]
    child.terminate()
    child.join()
    assert child.exitcode == -15


@pytest.mark.parametrize("method", ["spawn", "forkserver"])
def test_other_ways_to_start_are_left_as_they_are(method: str) -> None:
    assert find_context(method) is multiprocessing.get_context(method)
    assert isinstance(find_context("fork"), AskedForks)
