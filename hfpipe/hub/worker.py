"""The process that uploads while another one trains: a line of JSON in, a line of JSON out.

    python -m hfpipe.hub.worker

It takes no time from the training's interpreter, and when the Hub hangs it can be ended. It never decides what is
pushed: it gets folders that are ready, and looks into each file once more.
"""

import json
import signal
import sys
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from hfpipe.errors import HubError
from hfpipe.hub.answers import HubUnreachable
from hfpipe.hub.prepare import Prepared
from hfpipe.hub.push import push_prepared
from hfpipe.hub.repository import Repository, Target, Upload, limit_waiting, open_repository


def serve() -> None:
    """Answer each line of standard input until it ends."""
    # Ctrl-C reaches the whole group; the training process decides when this one is to end
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    limit_waiting()
    repository: Repository | None = None
    for line in sys.stdin:
        asked = json.loads(line)
        try:
            repository = repository or open_repository(Target(**asked["target"]))
            pushed = push_prepared(repository, _read_prepared(asked), is_final=asked["is_final"])
            answer: dict[str, Any] = {"pushed": asdict(pushed)}
        except HubError as error:
            may_work_later = isinstance(error, HubUnreachable)
            answer = {"problems": [str(each) for each in error.problems], "may_work_later": may_work_later}
        sys.stdout.write(json.dumps(answer) + "\n")
        sys.stdout.flush()


def _read_prepared(asked: Mapping[str, Any]) -> Prepared:
    upload = Upload.from_json(asked["upload"])
    return Prepared(upload, asked["step"], asked["private_card"], asked["public_card"])


if __name__ == "__main__":
    serve()
