"""Whether an upload advances: what is sent again does not count, though it is sent to an address signed anew."""

import hashlib
from collections.abc import Iterator
from typing import Any

import pytest
from hub_server import Fault, HubServer
from huggingface_hub import get_session

from hfpipe.hub.pulse import Pulse

CONTENT = b"w" * 300_000
CHUNK = 100_000


class Upload:
    """A client whose beats are counted, and a large file to send in chunks."""

    def __init__(self, hub: HubServer, client: Any, beats: list[int]) -> None:
        self.client = client
        self.beats = beats
        self.address = f"{hub.url}/large/{hashlib.sha256(CONTENT).hexdigest()}"

    def put(self, query: str) -> int:
        """Send the file to its address with `query`; return how many beats that made."""
        before = len(self.beats)
        chunks = (CONTENT[place : place + CHUNK] for place in range(0, len(CONTENT), CHUNK))
        self.client.put(f"{self.address}?{query}", content=chunks)
        return len(self.beats) - before


@pytest.fixture
def pulse_beats() -> list[int]:
    return []


@pytest.fixture
def pulse(pulse_beats: list[int]) -> Pulse:
    return Pulse(lambda: pulse_beats.append(1))


@pytest.fixture
def upload(hub: HubServer, pulse: Pulse, pulse_beats: list[int]) -> Iterator[Upload]:
    with type(get_session())(event_hooks=pulse.hooks()) as client:
        yield Upload(hub, client, pulse_beats)


def test_what_is_sent_again_is_no_advance_wherever_it_is_sent(upload: Upload, pulse: Pulse) -> None:
    assert upload.put("X-Amz-Signature=one") == 4, "three chunks and the answer"
    assert upload.put("X-Amz-Signature=two") == 0
    pulse.restart()
    assert upload.put("X-Amz-Signature=three") == 4, "another commit"


def test_parts_of_a_file_are_told_apart_by_their_number(upload: Upload) -> None:
    assert [upload.put(f"partNumber={number}&uploadId=a") for number in (1, 2)] == [4, 4]
    assert [upload.put(f"partNumber={number}&uploadId=b") for number in (1, 2, 3)] == [0, 0, 4]


def test_a_refusal_is_no_advance(hub: HubServer, upload: Upload) -> None:
    hub.faults.append(Fault("PUT", "/large/", status=503, times=2))
    assert [upload.put(""), upload.put(""), upload.put("")] == [3, 0, 1]
