"""Connections between the processes of a run that tell when one of them is gone, under every launcher and backend.

A process that waits in a collective for a dead one waits for minutes or for ever, and torch's launcher gives it 30
seconds. So each process keeps a connection to the first one, on which nothing is said until somebody leaves: with a
code and its reason, or without a word, which the system tells at once. The others then leave too, wherever they
stand; a step or a save that not all have agreed on is never finished.

The one decision: connections instead of heartbeats. A process that is busy for minutes is not taken for dead.
"""

import gc
import json
import logging
import os
import secrets
import selectors
import signal
import socket
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from accelerate.utils import broadcast
from transformers import TrainingArguments

from hfpipe.config.exit_codes import FINISHED, LOST, USER_MISTAKE
from hfpipe.config.stopping import SignalWatch, current_watch
from hfpipe.records.manifest import MANIFEST_FILE
from hfpipe.records.run_directory import list_checkpoints

logger = logging.getLogger(__name__)

SECONDS_TO_CONNECT = 20.0
# Where all processes meet the same mistake, each of them says so itself.
GRACE_SECONDS = 3.0
_LOCALHOST = "127.0.0.1"
# What is read of somebody who has not named the number. He is one of us only then, and nothing of his is parsed before.
LONGEST_GREETING = 4096
# A connection over which nothing is said must not be forgotten by a firewall on its way, and a machine that is switched
# off must be noticed: the other system is asked after a minute, and has another one to answer. Linux's own is 2 hours.
SECONDS_BEFORE_ASKING, SECONDS_BETWEEN_ASKING, TIMES_ASKED = 60, 10, 6


@dataclass(frozen=True)
class Member:
    """A process of the run, as it introduced itself."""

    rank: int
    host: str
    pid: int


@dataclass
class _Line:
    """A connection: who is at its other end, once that is known, and what of a message has come."""

    connection: socket.socket
    member: Member | None = None
    pending: bytes = b""
    is_expected_to_end: bool = False


class Lifeline:
    """This process's end of the connections; the first process has one to each other one.

    `checkpoints` is where the message about a process that is gone looks for the step to go on from.
    """

    def __init__(self, watch: SignalWatch, me: Member, *, world_size: int, checkpoints: Path) -> None:
        self.watch, self.me, self.world_size, self.checkpoints = watch, me, world_size, checkpoints
        self._token = b""
        self._lines: list[_Line] = []
        self._selector = selectors.DefaultSelector()
        self._is_over = False

    def listen(self, *, host: str) -> tuple[int, int]:
        """Wait for the others, in a thread; return the port and the number they have to name."""
        server = socket.create_server((host, 0), backlog=self.world_size)
        number = secrets.randbits(62)
        self._token = b"%d " % number
        self._selector.register(server, selectors.EVENT_READ)
        self._start()
        return int(server.getsockname()[1]), number

    def connect(self, host: str, port: int, number: int) -> None:
        """Connect to the first process.

        Raises:
            OSError: If it cannot be reached.
        """
        self._token = b"%d " % number
        self._add(socket.create_connection((host, port), timeout=SECONDS_TO_CONNECT))
        self._introduce(self._lines[0])
        self._start()

    def tell(self, code: int, message: str) -> None:
        """Tell the others that this process leaves; what they say is of no interest from now on."""
        self._is_over = True
        self._send({"rank": self.me.rank, "code": code, "message": message})

    def _start(self) -> None:
        self.watch.tell_others = self.tell
        os.register_at_fork(after_in_child=self._let_go)
        threading.Thread(target=self._follow, name="lifeline", daemon=True).start()

    def _let_go(self) -> None:
        """In a forked process: a data worker that outlives its parent must not hold the line for it."""
        for line in self._lines:
            line.connection.close()

    def _add(self, connection: socket.socket) -> None:
        connection.settimeout(SECONDS_TO_CONNECT)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        if sys.platform == "linux":
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, SECONDS_BEFORE_ASKING)
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, SECONDS_BETWEEN_ASKING)
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT, TIMES_ASKED)
        line = _Line(connection)
        self._lines.append(line)
        self._selector.register(connection, selectors.EVENT_READ, line)

    def _introduce(self, line: _Line) -> None:
        me = self.me
        _send(line, {"rank": me.rank, "host": me.host, "pid": me.pid}, before=self._token)

    def _follow(self) -> None:
        while True:
            for key, _ in self._selector.select():
                if key.data is None:
                    assert isinstance(key.fileobj, socket.socket)
                    self._add(key.fileobj.accept()[0])
                else:
                    self._read(key.data)

    def _read(self, line: _Line) -> None:
        try:
            read = line.connection.recv(65536)
        except OSError:
            read = b""
        *messages, line.pending = (line.pending + read).split(b"\n")
        for message in messages:
            if line.member is not None:
                self._take(line, json.loads(message))
            elif message.startswith(self._token):
                self._meet(line, json.loads(message.removeprefix(self._token)))
        is_stranger = line.member is None and (messages or len(line.pending) > LONGEST_GREETING)
        if is_stranger or not read:
            self._drop(line)

    def _meet(self, line: _Line, message: dict[str, Any]) -> None:
        """Take the first message, by which the other end introduces itself."""
        line.member = Member(message["rank"], message["host"], message["pid"])
        if self.me.rank == 0:
            self._introduce(line)

    def _take(self, line: _Line, message: dict[str, Any]) -> None:
        line.is_expected_to_end = True
        if message["code"] != FINISHED and not self._is_over:
            self._send(message)
            self._leave(message["code"], message["message"], speaker=0)

    def _drop(self, line: _Line) -> None:
        self._forget(line)
        if line.member is None or line.is_expected_to_end or self._is_over:
            return
        message = describe_loss(line.member, self.world_size, describe_next(self.checkpoints))
        self._send({"rank": line.member.rank, "code": LOST, "message": message})
        self._leave(LOST, message, speaker=0 if line.member.rank else 1)

    def _forget(self, line: _Line) -> None:
        self._selector.unregister(line.connection)
        line.connection.close()
        self._lines.remove(line)

    def _leave(self, code: int, message: str, *, speaker: int) -> None:
        self.watch.put_off()  # the launcher may send a signal for the same reason
        if code == USER_MISTAKE:
            time.sleep(GRACE_SECONDS)
        if not self._is_over:
            self.watch.leave(code, message, speaker=speaker)

    def _send(self, message: dict[str, Any]) -> None:
        for line in list(self._lines):
            if line.member is not None or self.me.rank:
                _send(line, message)


@contextmanager
def joining_group(checkpoints: Path) -> Iterator[None]:
    """End this process with a message, where its entry point is ours, if another one ends while the group is made."""
    try:
        yield
    except torch.distributed.DistError:
        watch = current_watch()
        if watch is not None:
            _leave_alone(watch, checkpoints)
        raise


def _leave_alone(watch: SignalWatch, checkpoints: Path) -> None:
    time.sleep(GRACE_SECONDS)  # the launcher of the other has a signal for this one, and that says why
    rank, world_size = (int(os.environ[name]) for name in ("RANK", "WORLD_SIZE"))
    message = f"process {rank} of {world_size:,}: another one ended before they had met"
    watch.leave(LOST, f"{message}; {describe_next(checkpoints)}", speaker=rank)


def join_lifeline(args: TrainingArguments, checkpoints: Path) -> None:
    """Connect the processes of this run, where there are several and their entry point is ours; all have to call it.

    Once a process: a further session, of a baseline, has the connections there are. Two lifelines would each take the
    end of the other for a loss.
    """
    watch = current_watch()
    if watch is None or args.world_size == 1 or watch.has_met_others:
        return
    watch.has_met_others = True
    watch.leave_group = _leave_group
    me = Member(args.process_index, socket.gethostname(), os.getpid())
    lifeline = Lifeline(watch, me, world_size=args.world_size, checkpoints=checkpoints)
    is_one_machine = os.environ.get("LOCAL_WORLD_SIZE") == os.environ.get("WORLD_SIZE")
    meeting = lifeline.listen(host=_LOCALHOST if is_one_machine else "") if me.rank == 0 else (0, 0)
    try:
        port, number = broadcast(torch.tensor(meeting, dtype=torch.int64, device=args.device)).tolist()
    except RuntimeError:  # what gloo and NCCL raise where a process is gone
        _leave_alone(watch, checkpoints)
        raise
    if me.rank == 0:
        return
    try:
        lifeline.connect(_LOCALHOST if is_one_machine else os.environ["MASTER_ADDR"], port, number)
    except OSError as error:
        # gradients take other ways, so the run can go on as it would have without
        logger.error("no connection to the first process (%s): the loss of a process will be noticed late", error)


def _leave_group() -> None:
    """End the threads of gloo, which live as long as the group: a model in DDP holds it, and is in a cycle."""
    gc.collect()
    torch.distributed.destroy_process_group()


def describe_loss(member: Member, world_size: int, goes_on: str) -> str:
    """Return what is said of a process that ended without a word, with the signal where the system still knows it."""
    number = _find_signal(member)
    how = "ended without a word" if number is None else f"was killed by signal {number}"
    memory = " (out of memory?)" if number in (None, signal.SIGKILL) else ""
    return f"process {member.rank} of {world_size:,} (host {member.host}, pid {member.pid}) {how}{memory}; {goes_on}"


def describe_next(checkpoints: Path) -> str:
    """Return what the same command does next, as known from the checkpoints that are there."""
    found = list_checkpoints(checkpoints, holding=MANIFEST_FILE)
    return f"the same command goes on from step {found[-1][0]:,}" if found else "the same command begins anew"


def _find_signal(member: Member) -> int | None:
    """Return the signal that ended a process of this machine, while its parent has not asked for it yet (Linux)."""
    if member.host != socket.gethostname():
        return None
    try:
        status = Path(f"/proc/{member.pid}/stat").read_text(encoding="utf-8")
    except OSError:
        return None
    # the last field is the exit status as `waitpid` has it; the name of the command may hold blanks
    return int(status.rpartition(")")[2].split()[-1]) & 0x7F or None


def _send(line: _Line, message: dict[str, Any], *, before: bytes = b"") -> None:
    try:
        line.connection.sendall(before + json.dumps(message).encode() + b"\n")
    except OSError:  # it is gone, which is read from the connection
        return
