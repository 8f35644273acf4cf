"""What keeps tests off the network, and lets those that ask for it reach a Hub on this machine.

The client libraries read their endpoint and caches once, when they are imported; so this module is imported first.
The endpoint is a port of this machine that nobody listens at: it is bound here and stays refused until the `hub`
fixture starts a server there. Connections of Python to any other machine raise, whatever a library is told.

Caches lie in a folder of each process, below one that the first process of the tests makes and removes at its end: a
process that was killed, or forked and left without its exit functions, removes nothing.
"""

import atexit
import os
import shutil
import socket
import sys
import tempfile

LOOPBACK = ("127.0.0.1", "::1", "localhost")


def _reserve_port() -> socket.socket:
    """Return a socket that keeps a port for us without listening; a server may bind it as well (SO_REUSEADDR)."""
    reserved = socket.socket()
    reserved.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    reserved.bind(("127.0.0.1", 0))
    return reserved


def _refuse_network(event: str, arguments: tuple[object, ...]) -> None:
    if event == "socket.getaddrinfo":
        host = arguments[0]
    elif event == "socket.connect" and isinstance(arguments[1], tuple):  # a path is a socket of this machine
        host = arguments[1][0]
    else:
        return
    if host not in (None, "", *LOOPBACK, socket.gethostname()):
        raise PermissionError(f"tests reach no other machine, and one tried {host!r}")


def _make_home() -> str:
    """Return a new folder for this process, below that of the process that came first."""
    if _FOLDER not in os.environ:
        os.environ[_FOLDER] = tempfile.mkdtemp(prefix="hfpipe-tests-")
        atexit.register(shutil.rmtree, os.environ[_FOLDER], ignore_errors=True)
    return tempfile.mkdtemp(dir=os.environ[_FOLDER])


_RESERVED = _reserve_port()
HUB_PORT: int = _RESERVED.getsockname()[1]
HUB_URL = f"http://127.0.0.1:{HUB_PORT}"

_FOLDER = "HFPIPE_TESTS_FOLDER"
_HOME = _make_home()
for _name in ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN", "HF_HUB_CACHE", "HF_DATASETS_CACHE", "HUGGINGFACE_HUB_CACHE"):
    os.environ.pop(_name, None)
os.environ |= {
    "HF_HOME": _HOME,
    "HF_ENDPOINT": HUB_URL,
    "HF_HUB_OFFLINE": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    # the client would send large files by Xet without asking the server whether it has it
    "HF_HUB_DISABLE_XET": "1",
}
sys.addaudithook(_refuse_network)
