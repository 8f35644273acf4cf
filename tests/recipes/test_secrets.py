"""Twelve secrets planted where people keep them, and no byte of them in anything a run prints, writes or sends.

The entry points are those of a user, in processes of their own: a run that trains and pushes to a Hub which repeats the
token in its errors, predictions, and refusals of what was given by mistake. They run in a working copy of git whose
remote has a password. Searched for are the secrets themselves, percent-encoded, in base64 and reversed.
"""

import base64
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from urllib.parse import quote

import psutil
import pytest
from conftest import ROOT, run_recipe_here, to_argv
from hub_server import Account, Fault, HubServer
from test_resume import classifier_settings
from typer.testing import CliRunner

from hfpipe.cli import app

RECIPE = (sys.executable, str(ROOT / "recipes" / "finetune_classifier.py"))
ENVIRONMENT = ("HF_TOKEN", "AWS_SECRET_ACCESS_KEY", "WANDB_API_KEY", "OPENAI_API_KEY", "DATABASE_PASSWORD")
OTHERS = ("option", "assignment", "yaml", "address", "signature", "remote", "netrc", "proxy")
CANARIES: Mapping[str, str] = {
    name: f"canary{place}/{name.lower()[::-1]}+{place * 7919}Qz" for place, name in enumerate((*ENVIRONMENT, *OTHERS))
}


@pytest.fixture
def planted(hub: HubServer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Plant them all, and return the working directory."""
    hub.hub.accounts = {CANARIES["HF_TOKEN"]: Account("tester")}  # type: ignore[misc]
    for name in ENVIRONMENT:
        monkeypatch.setenv(name, CANARIES[name])
    monkeypatch.setenv("HTTPS_PROXY", f"http://me:{quote(CANARIES['proxy'], safe='')}@proxy.invalid:3128")
    netrc = tmp_path / "netrc"
    netrc.write_text(f"machine example.org login me password {CANARIES['netrc']}\n")
    netrc.chmod(0o600)
    monkeypatch.setenv("NETRC", str(netrc))
    folder = tmp_path / "here"
    folder.mkdir()
    remote = f"https://me:{CANARIES['remote']}@git.invalid/x.git"
    for words in (["init", "-q"], ["config", "remote.origin.url", remote]):
        subprocess.run(["git", "-C", str(folder), *words], check=True)
    return folder


def forms(secret: str) -> list[bytes]:
    """Return a secret as it could stand in a file: in base64 it has one of three shapes, by where it begins."""
    plain = secret.encode()
    inner = [base64.b64encode(b"x" * shift + plain).rstrip(b"=")[4 if shift else 0 : -2] for shift in range(3)]
    return [plain, quote(secret, safe="").encode(), plain[::-1], *inner, *(each.translate(_URL_SAFE) for each in inner)]


_URL_SAFE = bytes.maketrans(b"+/", b"-_")


def find_in(content: bytes, place: str) -> list[str]:
    """Return the names of the secrets that `content` holds, each with its place."""
    return [f"{place}: {name}" for name, secret in CANARIES.items() if any(form in content for form in forms(secret))]


def call(command: Sequence[str], folder: Path, titles: set[str]) -> None:
    """Run a command to its good end, and find no secret in what it printed and in the titles of its processes."""
    process = subprocess.Popen(
        command,
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    ended = threading.Event()
    watcher = threading.Thread(target=_collect_titles, args=(process.pid, ended, titles))
    watcher.start()
    output, _ = process.communicate(timeout=240)
    ended.set()
    watcher.join()
    assert process.returncode == 0, output.decode()
    assert b"Traceback" not in output, output.decode()
    assert find_in(output, " ".join(command[-3:])) == [], output.decode()


def _collect_titles(pid: int, ended: threading.Event, titles: set[str]) -> None:
    """Note the command lines of the processes that `pid` starts; its own is the user's."""
    while not ended.wait(0.2):
        for child in _children(pid):
            titles.add(_title(child))


def _children(pid: int) -> list[psutil.Process]:
    try:
        return psutil.Process(pid).children(recursive=True)
    except psutil.NoSuchProcess:
        return []


def _title(process: psutil.Process) -> str:
    try:
        return " ".join(process.cmdline())
    except psutil.Error:
        return ""


def test_a_run_tells_nobody_a_secret(
    planted: Path,
    hub: HubServer,
    checkpoints: Callable[[str], Path],
    reviews_csv: Callable[[int], Path],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    titles: set[str] = set()
    echo = f"who is Bearer {CANARIES['HF_TOKEN']}? see https://me:{CANARIES['address']}@host/"
    hub.faults += [
        Fault("POST", "/commit/", status=500, times=2, message=echo),
        Fault("POST", "/preupload/", status=403, message=echo),
    ]
    settings = {**classifier_settings(reviews_csv(44), checkpoints("bert")), "num_train_epochs": 1}
    settings |= {"output_dir": "run", "push_to_hub": "true", "hub_model_id": "tester/reviews"}
    settings |= {"hub_strategy": "checkpoint", "use_cpu": "true"}
    settings |= {"run_name": f"https://me:{CANARIES['address']}@tracker/?sig={quote(CANARIES['signature'])}"}
    call([*RECIPE, *to_argv(settings)], planted, titles)
    monkeypatch.chdir(planted)
    run_recipe_here("finetune_classifier", settings)  # it knows itself again
    pushed = CliRunner().invoke(app, ["push", "run"])
    assert pushed.exit_code == 0, pushed.output
    assert find_in(pushed.output.encode(), "push") == []
    files = [path for path in planted.rglob("*") if path.is_file() and ".git" not in path.parts]
    assert len(files) > 20
    assert [found for path in files for found in find_in(path.read_bytes(), str(path))] == []
    assert len(hub.sent) > 10
    assert [found for content in hub.sent for found in find_in(content, "a request")] == []
    stored = [hub.hub.storage.read(file) for file in _stored_files(hub)]
    assert len(stored) > 5
    assert [found for content in stored for found in find_in(content, "the repository")] == []
    assert any("hfpipe.hub" in title for title in titles)
    assert find_in("\n".join(titles).encode(), "a title") == []
    assert "***" in (planted / "run" / "run.json").read_text()


def _stored_files(hub: HubServer) -> list[str]:
    commit = hub.repository("tester/reviews").find("main")
    assert commit is not None
    return list(commit.files.values())


@pytest.mark.parametrize("kind", ["option", "assignment", "yaml", "addresses"])
def test_what_was_given_by_mistake_is_not_repeated(
    kind: str, planted: Path, reviews_csv: Callable[[int], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    lines = ["recipe: finetune_classifier", f"train_file: {reviews_csv(44)}", "model_name_or_path: ./missing"]
    if kind == "yaml":
        secret = CANARIES["yaml"]
        lines += [f"hub_token: {secret}", f"openai_api_key: '{secret}'", f"learning_rate: {CANARIES['HF_TOKEN']}"]
    (planted / "run.yaml").write_text("\n".join(lines))
    address, signature = (quote(CANARIES[name], safe="") for name in ("address", "signature"))
    given = {
        "option": ["--hub_token", CANARIES["option"]],
        "assignment": [f"token={CANARIES['assignment']}"],
        "addresses": [
            f"train_file=[https://me:{address}@host/a.csv, 'https://host/a.csv?X-Amz-Signature={signature}']"
        ],
    }
    monkeypatch.chdir(planted)
    result = CliRunner().invoke(app, ["check", "run.yaml", *given.get(kind, [])])
    assert result.exit_code == 2, result.output
    assert result.exception is None or isinstance(result.exception, SystemExit)
    assert find_in(result.output.encode(), kind) == [], result.output
