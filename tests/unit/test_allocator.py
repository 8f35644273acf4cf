"""How many kernels oneDNN keeps: fewer, unless the environment says how many."""

import pytest

from hfpipe.models.allocator import limit_kernels

LIMITS = ("ONEDNN_PRIMITIVE_CACHE_CAPACITY", "LRU_CACHE_CAPACITY")


def test_what_the_environment_says_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    environment = {LIMITS[0]: "7"}
    monkeypatch.setattr("os.environ", environment)
    limit_kernels()
    assert environment == {LIMITS[0]: "7", LIMITS[1]: "128"}
