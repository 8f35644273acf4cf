"""The connections of a run's processes where somebody else connects: whoever does not know the number is sent away."""

import json
import socket
from pathlib import Path

from hfpipe.config.stopping import SignalWatch
from hfpipe.training.lifeline import LONGEST_GREETING, Lifeline, Member

MEMBER = {"rank": 1, "host": "here", "pid": 1}


def test_strangers_are_sent_away_and_members_are_met_after_them() -> None:
    lifeline = Lifeline(SignalWatch(), Member(0, "here", 1), world_size=2, checkpoints=Path("none"))
    port, number = lifeline.listen(host="127.0.0.1")
    # a browser's two lines, nesting that no parser survives, no end of a line, another number
    for said in (
        b"GET / HTTP/1.1\r\n\r\n",
        b"[" * LONGEST_GREETING + b"\n",
        b"x" * (LONGEST_GREETING + 1),
        f"{number}1 {json.dumps(MEMBER)}\n".encode(),
    ):
        assert answer_to(port, said) == b""
    assert answer_to(port, f"{number} {json.dumps(MEMBER)}\n".encode()).startswith(f'{number} {{"rank": 0, '.encode())


def answer_to(port: int, said: bytes) -> bytes:
    with socket.create_connection(("127.0.0.1", port), timeout=5) as connection:
        connection.sendall(said)
        answer = connection.recv(4096)
        if answer:  # leave as a process that has done its part
            connection.sendall(b'{"rank": 1, "code": 0, "message": ""}\n')
        return answer
