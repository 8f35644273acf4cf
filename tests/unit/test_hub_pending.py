"""`hfpipe push --pending` over the wire: what a run could not push arrives in order, once, or it is said why not."""

from pathlib import Path

import pytest
from hub_runs import list_titles, save_run
from hub_server import WRITE_TOKEN, Fault, HubServer
from hub_spools import NAME, SAVES_AND_FINAL, record_all, record_final, record_save
from typer.testing import CliRunner, Result

from hfpipe.cli import app
from hfpipe.hub import pending
from hfpipe.hub.pushed import list_pushes
from hfpipe.hub.spool import Spool


@pytest.fixture
def spool(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Spool:
    monkeypatch.setenv("HF_TOKEN", WRITE_TOKEN)
    monkeypatch.setattr(pending, "ATTEMPTS", 2)
    saved = save_run(tmp_path / "reviews")
    (saved / "history.jsonl").unlink()  # drawing its curve takes a second
    return Spool(saved)


def push(spool: Spool, *options: str) -> Result:
    return CliRunner().invoke(app, ["push", str(spool.run_dir), *options])


def push_by_hand(hub: HubServer) -> None:
    repository = hub.repository(NAME)
    other = hub.hub.storage.add_small(b"{}")
    repository.commit("main", "By hand", files={**repository.head.files, "config.json": other})


def test_what_is_pending_is_listed_and_delivered(hub: HubServer, spool: Spool) -> None:
    assert push(spool, "--pending").output == f"{spool.run_dir}: nothing is pending\n"
    record_save(spool, 2, revision="night/run")
    record_final(spool)
    listed = push(spool, "--pending", "--dry-run").output.splitlines()
    assert [line.split(maxsplit=1)[1] for line in listed] == [
        f"Step 2 to {NAME}, branch night/run",
        f"Finished model, step 4 to {NAME}",
        "bytes in 2 commits",
    ]
    assert hub.log == []
    done = push(spool, "--pending")
    assert done.exit_code == 0, done.output
    assert [line.split(" (")[0] for line in done.stdout.splitlines()] == [
        f"pushed: {hub.url}/{NAME}/tree/night/run",
        f"pushed: {hub.url}/{NAME}",
    ]
    assert list_titles(hub, NAME) == ["initial commit", "Finished model, step 4"]
    assert list_titles(hub, NAME, revision="night/run") == ["initial commit", "Step 2"]
    assert [(each["step"], each["revision"]) for each in list_pushes(spool.run_dir)] == [(2, "night/run"), (4, "main")]
    assert not spool.folder.exists()


def test_a_refusal_ends_it_and_everything_stays(hub: HubServer, spool: Spool, monkeypatch: pytest.MonkeyPatch) -> None:
    record_all(spool)
    monkeypatch.setenv("HF_TOKEN", "hf_expired")
    refused = push(spool, "--pending")
    assert refused.exit_code == 2
    assert "the Hub answered 401 (Invalid user token.); set HF_TOKEN" in refused.stderr
    assert f"{spool.run_dir}: 3 commits still pending (" in refused.stderr
    assert f"hfpipe push {spool.run_dir} --pending" in refused.stderr
    assert len(hub.requests("POST")) == 1, "a refusal is not asked for again"
    monkeypatch.setenv("HF_TOKEN", WRITE_TOKEN)
    assert push(spool, "--pending").exit_code == 0
    assert list_titles(hub, NAME)[1:] == SAVES_AND_FINAL


def test_what_arrived_before_a_failure_is_not_sent_again(hub: HubServer, spool: Spool) -> None:
    record_all(spool)
    hub.faults.append(Fault("POST", "/commit/", status=503, skips=1, times=9))
    failed = push(spool, "--pending")
    assert failed.exit_code == 2
    assert "(1 of 2 tries; the next in 1 s)" in failed.output
    assert "2 commits still pending" in failed.stderr
    assert [each["step"] for each in list_pushes(spool.run_dir)] == [2]
    hub.faults.clear()
    assert push(spool, "--pending").exit_code == 0
    assert list_titles(hub, NAME)[1:] == SAVES_AND_FINAL


def test_it_refuses_where_the_run_is_at_it_and_options_it_cannot_follow(hub: HubServer, spool: Spool) -> None:
    record_final(spool)
    assert "--pending: takes no other option" in push(spool, "--pending", "--tag", "v1").stderr
    with spool.hold():
        assert "is delivering what is pending; let it finish, or end it" in push(spool, "--pending").stderr
    assert hub.log == []


def test_pushing_the_finished_model_by_hand_brings_what_is_before_it(hub: HubServer, spool: Spool) -> None:
    record_save(spool, 2)
    record_save(spool, 4, revision="night/run")
    record_final(spool)
    assert push(spool, "--hub-model-id", NAME).exit_code == 0
    assert list_titles(hub, NAME)[1:] == ["Step 2", "Finished model, step 4"]
    assert [entry.title for entry in spool.list_pending()] == ["Step 4"], "it goes to another branch"
    assert push(spool, "--pending").exit_code == 0
    assert [each["is_final"] for each in list_pushes(spool.run_dir)] == [False, True, False]
    assert not spool.folder.exists()


def test_an_entry_that_must_not_travel_holds_up_no_other(hub: HubServer, spool: Spool) -> None:
    record_all(spool)
    weights = spool.folder / "000001" / "files" / "model.safetensors"
    weights.unlink()
    weights.write_bytes(b"\x80\x04cos\nsystem\n")
    told = push(spool, "--pending")
    assert told.exit_code == 0
    assert f"Step 2 must not travel and now lies in {spool.folder / 'unfit-000001'}: model.safetensors" in told.output
    assert list_titles(hub, NAME)[1:] == SAVES_AND_FINAL[1:]
    assert sorted(path.name for path in spool.folder.iterdir()) == ["lock", "unfit-000001"]


def test_a_repository_that_was_deleted_is_made_anew(hub: HubServer, spool: Spool) -> None:
    record_save(spool, 2)
    assert push(spool, "--pending").exit_code == 0
    record_save(spool, 4)
    hub.hub.storage.repositories.clear()
    assert "after 'initial commit' of somebody else" in push(spool, "--pending").output
    assert hub.repository(NAME).private
    assert list_titles(hub, NAME) == ["initial commit", "Step 4"]


def test_a_run_that_pushes_to_the_same_place_is_noticed(hub: HubServer, spool: Spool) -> None:
    record_save(spool, 2)
    assert push(spool, "--pending").exit_code == 0
    repository = hub.repository(NAME)
    foreign = hub.hub.storage.add_small(b"{}")
    repository.commit("main", "Step 900", files={**repository.head.files, "config.json": foreign})
    record_final(spool)
    assert "after 'Step 900' of somebody else" in push(spool, "--pending").output
    assert hub.read(NAME, "config.json") != b"{}", "the top is this run's, as its card says"
    assert list_titles(hub, NAME)[1:] == ["Step 2", "Step 900", "Finished model, step 4"]


def test_a_commit_goes_on_top_of_what_was_looked_at_alone(hub: HubServer, spool: Spool) -> None:
    record_save(spool, 2)
    assert push(spool, "--pending").exit_code == 0
    record_save(spool, 4)
    hub.faults.append(Fault("POST", "/preupload/", calls=lambda: push_by_hand(hub)))
    assert "after 'By hand' of somebody else" in push(spool, "--pending").output
    assert list_titles(hub, NAME)[1:] == ["Step 2", "By hand", "Step 4"]
    assert [seen.status for seen in hub.requests("POST", "/commit/")] == [200, 412, 200]


def test_a_commit_whose_answer_was_lost_is_found_below_those_of_others(hub: HubServer, spool: Spool) -> None:
    record_save(spool, 2)
    hub.faults.append(Fault("POST", "/commit/", loses=True, calls=lambda: push_by_hand(hub)))
    assert push(spool, "--pending").exit_code == 0
    assert list_titles(hub, NAME)[1:] == ["Step 2", "By hand"]
    (pushed,) = list_pushes(spool.run_dir)
    assert hub.repository(NAME).commits[pushed["commit"]].title == "Step 2"
