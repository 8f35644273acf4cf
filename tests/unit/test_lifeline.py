"""The connections of a run's processes where somebody else connects: whoever does not know the number is sent away."""

import json
import os
import socket
import subprocess
from pathlib import Path

from hfpipe.config.stopping import SignalWatch
from hfpipe.training.lifeline import LONGEST_GREETING, Lifeline, Member, describe_loss

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


def test_the_signal_is_told_while_the_system_knows_it() -> None:
    with subprocess.Popen(["sleep", "60"]) as process:
        lost = Member(1, socket.gethostname(), process.pid)
        process.kill()
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
        message = f"process 1 of 2 (host {lost.host}, pid {lost.pid}) "
        assert describe_loss(lost, 2, "it ends") == f"{message}was killed by signal 9 (out of memory?); it ends"
    assert describe_loss(lost, 2, "it ends") == f"{message}ended without a word (out of memory?); it ends"


def answer_to(port: int, said: bytes) -> bytes:
    with socket.create_connection(("127.0.0.1", port), timeout=5) as connection:
        connection.sendall(said)
        answer = connection.recv(4096)
        if answer:  # leave as a process that has done its part
            connection.sendall(b'{"rank": 1, "code": 0, "message": ""}\n')
        return answer
