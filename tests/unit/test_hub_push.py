"""`hfpipe push` over the wire: what arrives, what never does, and every refusal by its message."""

import json
from pathlib import Path

import pytest
from hub_runs import TOP, make_record, save_run
from hub_server import READ_TOKEN, STRANGER_TOKEN, WRITE_TOKEN, Fault, HubServer
from typer.testing import CliRunner, Result

from hfpipe.cli import app
from hfpipe.hub.prepare import write_card
from hfpipe.hub.push import find_default_name
from hfpipe.records.run_directory import read_json
from hfpipe.records.sessions import add_facts

NAME = "tester/reviews"
STATE = {
    *(TOP - {"README.md", "inference.json", "loss_curve.png", "metrics.json"}),
    "optimizer.safetensors",
    "progress.json",
    "run.json",
    "trainer_state.json",
}


@pytest.fixture
def logged_in(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", WRITE_TOKEN)


def push(run_dir: Path, *options: str) -> Result:
    return CliRunner().invoke(app, ["push", str(run_dir), *options])


def files(hub: HubServer, revision: str = "main") -> set[str]:
    commit = hub.repository(NAME).find(revision)
    assert commit is not None
    return set(commit.files) - {".gitattributes"}


@pytest.mark.usefixtures("logged_in")
def test_what_must_not_travel_stays(hub: HubServer, tmp_path: Path) -> None:
    run_dir = save_run(tmp_path / "somebody" / "reviews")
    (tmp_path / "outside.txt").write_text("not mine")
    (run_dir / "link.txt").symlink_to(tmp_path / "outside.txt")
    (run_dir / ".env").write_text(f"HF_TOKEN={WRITE_TOKEN}")
    for name in ("training_args.bin", "optimizer.pt", "pytorch_model.bin", "model.pkl", "own_code.py", "train.csv"):
        (run_dir / name).write_bytes(b"\x80\x04" + WRITE_TOKEN.encode())
    result = push(run_dir)
    assert result.exit_code == 0, result.output
    assert files(hub) == TOP
    sent = {path: hub.read(NAME, path) for path in TOP}
    secrets = (WRITE_TOKEN, str(tmp_path), "/srv/somebody", "secret place")
    assert [path for path, content in sent.items() for secret in secrets if secret.encode() in content] == []
    assert json.loads(sent["tokenizer.json"])["model"]["vocab"] == {"/srv/x": 0}, "a token is no path"
    assert "_name_or_path" not in json.loads(sent["config.json"])


@pytest.mark.usefixtures("logged_in")
def test_a_run_that_knew_nothing_of_the_hub_is_pushed(hub: HubServer, tmp_path: Path) -> None:
    run_dir = save_run(tmp_path / "reviews")
    listed = push(run_dir, "--dry-run", "--tag", "v1")
    assert listed.exit_code == 0
    refused = push(run_dir, "--dry-run", "--tag", "bad tag")
    assert (refused.exit_code, "--tag: bad tag: is no name of a tag" in refused.output) == (2, True)
    assert "to reviews (private if it has to be made)" in listed.output
    assert "Finished model, step 4, tag v1:" in listed.output
    assert hub.log == []
    result = push(run_dir, "--tag", "v1", "--revision", "trials/1")
    assert result.exit_code == 0, result.output
    repository = hub.repository(NAME)
    assert repository.private
    assert repository.tags["v1"] == repository.branches["trials/1"]
    assert f"pushed: {hub.url}/{NAME}/tree/trials/1 (commit {repository.tags['v1'][:8]})" in result.output
    assert 'model="tester/reviews", revision="trials/1"' in hub.read(NAME, "README.md", revision="v1").decode()
    (recorded,) = read_json(run_dir / "run.json")["pushes"]
    assert recorded == {
        "step": 4,
        "commit": repository.tags["v1"],
        "repository": NAME,
        "revision": "trials/1",
        "tag": "v1",
        "is_final": True,
    }
    assert list(run_dir.glob(".pushing-*")) == []


@pytest.mark.usefixtures("logged_in")
def test_a_card_of_ones_own_is_looked_into_before_anything_travels(hub: HubServer, tmp_path: Path) -> None:
    run_dir = save_run(tmp_path / "reviews")
    (run_dir / "README.md").write_text(f"I log in by {WRITE_TOKEN}")
    told = push(run_dir, "--dry-run")
    assert (told.exit_code, "README.md: carries an access token" in told.output) == (2, True)
    (run_dir / "README.md").unlink()
    (tmp_path / "notes.txt").write_text("not for others")
    (run_dir / "README.md").symlink_to(tmp_path / "notes.txt")
    told = push(run_dir)
    assert (told.exit_code, "README.md: is a link" in told.output) == (2, True)
    assert hub.log == []


@pytest.mark.usefixtures("logged_in")
def test_an_adapter_names_its_base_as_the_hub_knows_it(hub: HubServer, tmp_path: Path) -> None:
    run_dir = save_run(tmp_path / "reviews")
    (run_dir / "adapter").mkdir()
    config = run_dir / "adapter" / "adapter_config.json"
    base = make_record()["config"]["model_name_or_path"]["value"]
    for commit, expected in (("ab" * 20, base), (None, None)):
        config.write_text(json.dumps({"r": 4, "base_model_name_or_path": "/srv/somebody/gpt2"}))
        add_facts(run_dir, {"model_commit": commit})
        assert push(run_dir).exit_code == 0
        assert json.loads(hub.read(NAME, "adapter/adapter_config.json")) == {
            "r": 4,
            "base_model_name_or_path": expected,
        }


@pytest.mark.usefixtures("logged_in")
def test_the_card_of_a_tagged_checkpoint_loads_its_own_weights(hub: HubServer, tmp_path: Path) -> None:
    run_dir = save_run(tmp_path / "reviews", status="stopped")
    assert push(run_dir, "--checkpoint", "2", "--tag", "early").exit_code == 0
    assert 'model="tester/reviews", revision="early"' in hub.read(NAME, "README.md").decode()


@pytest.mark.usefixtures("logged_in")
def test_a_push_takes_away_what_the_model_no_longer_has(hub: HubServer, tmp_path: Path) -> None:
    run_dir = save_run(tmp_path / "reviews")
    storage = hub.hub.storage
    repository = storage.create("model", NAME, private=True)
    old = storage.add_small(b"old")
    names = ("model-00001-of-00002.safetensors", "adapter_config.json", "LICENSE", "checkpoint-2/model.safetensors")
    repository.commit("main", "By hand", files={**repository.head.files, **dict.fromkeys(names, old)})
    assert push(run_dir).exit_code == 0
    assert files(hub) == {*TOP, "LICENSE", "checkpoint-2/model.safetensors"}


@pytest.mark.usefixtures("logged_in")
def test_checkpoints_of_a_finished_run_leave_the_model_alone(hub: HubServer, tmp_path: Path) -> None:
    run_dir = save_run(tmp_path / "reviews")
    assert push(run_dir, "--checkpoint", "2").exit_code == 0
    assert files(hub) == {*TOP, *(f"checkpoint-2/{name}" for name in STATE)}
    assert "step 4 of 4" in hub.read(NAME, "README.md").decode()
    state = json.loads(hub.read(NAME, "checkpoint-2/trainer_state.json"))
    assert state == {"best_global_step": 2, "best_model_checkpoint": "checkpoint-2", "global_step": 2}
    result = push(run_dir, "--checkpoint", "3", "--checkpoint", "last")
    assert result.exit_code == 2
    assert result.stderr == (
        "the Hub has 2 problems:\n"
        "  - --checkpoint: 3: there is no such checkpoint; there is: 2, 4\n"
        "  - --checkpoint: last: there is no such checkpoint; there is: 2, 4\n"
    )


@pytest.mark.usefixtures("logged_in")
def test_an_unfinished_run_is_pushed_when_asked(hub: HubServer, tmp_path: Path) -> None:
    run_dir = save_run(tmp_path / "reviews", status="stopped")
    result = push(run_dir)
    assert result.exit_code == 2
    assert result.stderr == (
        "the Hub has 1 problem:\n"
        f"  - {run_dir}: the run is not done, its status is 'stopped'; let it finish by the command that started it, "
        "or push what there is: --checkpoint newest (or best)\n"
    )
    assert push(run_dir, "--checkpoint", "newest").exit_code == 0
    folders = ("last-checkpoint", "best-checkpoint")
    assert files(hub) == {*TOP, *(f"{folder}/{name}" for folder in folders for name in STATE)}
    assert json.loads(hub.read(NAME, "metrics.json")) == {"eval_loss": 0.25, "eval_accuracy": 0.875}
    history = hub.read(NAME, "best-checkpoint/history.jsonl").decode().splitlines()
    assert {json.loads(line)["step"] for line in history} == {2}
    assert push(run_dir, "--checkpoint", "best").exit_code == 0
    assert json.loads(hub.read(NAME, "metrics.json")) == {"eval_loss": 0.4, "eval_accuracy": 0.75}
    assert not any(path.startswith("best-checkpoint") for path in files(hub)), "the best one is the last one now"


@pytest.mark.usefixtures("logged_in")
def test_own_texts_are_quoted_in_private_alone(hub: HubServer, tmp_path: Path) -> None:
    run_dir = save_run(tmp_path / "reviews")
    assert push(run_dir).exit_code == 0
    assert "a &#42;fine&#42; film" in hub.read(NAME, "README.md").decode()
    assert push(run_dir, "--hub-model-id", "acme/open", "--public").exit_code == 0
    assert not hub.repository("acme/open").private
    assert "film" not in hub.read("acme/open", "README.md").decode()
    # an earlier one that is public stays it, which is said, and has the card for everybody too
    assert "acme/open exists and is public" in push(run_dir, "--hub-model-id", "acme/open").output
    assert "film" not in hub.read("acme/open", "README.md").decode()


@pytest.mark.usefixtures("logged_in")
def test_a_card_that_was_edited_is_kept(hub: HubServer, tmp_path: Path) -> None:
    run_dir = save_run(tmp_path / "reviews")
    write_card(run_dir)
    assert "README.md was edited" not in push(run_dir, "--dry-run").output
    (run_dir / "README.md").write_text("# Written by hand\n")
    result = push(run_dir)
    assert "README.md was edited since the run wrote it: it is pushed as it is" in result.output
    assert hub.read(NAME, "README.md") == b"# Written by hand\n"


@pytest.mark.parametrize(
    ("token", "fault", "message"),
    [
        (None, None, "reviews: pushing needs an access token; set HF_TOKEN to a token that may write, or run: hf"),
        ("hf_no", None, "reviews: the Hub answered 401 (Invalid user token.); set HF_TOKEN to a token that may write"),
        (READ_TOKEN, None, "the Hub answered 403 (You don't have the rights to write under the namespace tester)"),
        (WRITE_TOKEN, Fault("POST", "/commit/", status=404), f"{NAME}: the Hub answered 404 "),
        (WRITE_TOKEN, Fault("POST", "/commit/", status=409), "another push came in between; try again"),
        (WRITE_TOKEN, Fault("POST", "/commit/", status=412), "another push came in between; try again"),
        (
            WRITE_TOKEN,
            Fault("POST", "/commit/", status=500),
            "500 (a fault this test asked for); try again when it can",
        ),
        (WRITE_TOKEN, Fault("POST", "/create", drops=True), "reviews: the Hub cannot be reached (Server disconnected"),
    ],
    ids=["no token", "unknown token", "read", "404", "409", "412", "500", "drops"],
)
def test_refusals_say_what_to_do(
    hub: HubServer,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    token: str | None,
    fault: Fault | None,
    message: str,
) -> None:
    if token is not None:
        monkeypatch.setenv("HF_TOKEN", token)
    if fault is not None:
        fault.times = 9
        hub.faults.append(fault)
    result = push(save_run(tmp_path / "reviews"))
    assert result.exit_code == 2, result.output
    assert message in result.stderr
    assert "Traceback" not in result.output


def test_a_repository_of_others_is_refused(hub: HubServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", STRANGER_TOKEN)
    result = push(save_run(tmp_path / "reviews"), "--hub-model-id", NAME)
    assert result.exit_code == 2
    assert "use a token that may write there, or a repository of your own as hub_model_id" in result.stderr


def test_a_hub_that_is_away_is_said(hub: HubServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", WRITE_TOKEN)
    hub.stop()
    result = push(save_run(tmp_path / "reviews"))
    assert result.exit_code == 2
    assert (
        "the Hub cannot be reached ([Errno 111] Connection refused); try again when it can be reached" in result.stderr
    )


def test_names_are_checked(tmp_path: Path) -> None:
    result = push(save_run(tmp_path / "reviews"), "--hub-model-id", "a/b/c")
    assert result.exit_code == 2
    assert "--hub-model-id: a/b/c: is no name of a repository; write it as in owner/my-model" in result.stderr
    assert find_default_name(Path("runs/my run (2)")) == "my-run-2"
    assert find_default_name(Path("runs/imdb-minilm")) == "imdb-minilm"


@pytest.mark.usefixtures("logged_in")
def test_a_checkpoint_between_two_evaluations_claims_no_scores(hub: HubServer, tmp_path: Path) -> None:
    run_dir = save_run(tmp_path / "reviews", status="stopped")
    events = (run_dir / "history.jsonl").read_text().splitlines(keepends=True)
    (run_dir / "history.jsonl").write_text("".join(events[:3]))
    assert push(run_dir, "--checkpoint", "4").exit_code == 0
    assert json.loads(hub.read(NAME, "metrics.json")) == {}
    card = hub.read(NAME, "README.md").decode()
    assert "These weights were not evaluated" in card
    assert "model-index" not in card
