"""The Hub on this machine, spoken to by the real client: what the other tests over the wire stand on."""

import os
import socket
import time
from pathlib import Path

import pytest
from hub_server import READ_TOKEN, STRANGER_TOKEN, WRITE_TOKEN, Fault, HubServer
from huggingface_hub import CommitOperationAdd, CommitOperationDelete, HfApi, constants, get_session, hf_hub_download
from huggingface_hub.errors import (
    EntryNotFoundError,
    GatedRepoError,
    HfHubHTTPError,
    OfflineModeIsEnabled,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)

NAME = "acme/model"


def api(token: str | None = WRITE_TOKEN) -> HfApi:
    return HfApi(token=token if token else False)


def upload(content: bytes, path: str, *, revision: str | None = None) -> str:
    """Upload a file to the test's repository and return the id of the commit."""
    return api().upload_file(path_or_fileobj=content, path_in_repo=path, repo_id=NAME, revision=revision).oid


def download(path: str, *, token: str | None = WRITE_TOKEN, revision: str | None = None) -> bytes:
    return Path(hf_hub_download(NAME, path, token=token or False, revision=revision)).read_bytes()


@pytest.fixture
def repository(hub: HubServer) -> HubServer:
    """A Hub with an empty public repository."""
    api().create_repo(NAME, private=False)
    return hub


def test_a_repository_is_private_or_not_as_it_was_created(hub: HubServer) -> None:
    api().create_repo(NAME, private=True)
    assert hub.repository(NAME).private
    assert api().repo_info(NAME).private
    api().create_repo(NAME, exist_ok=True)
    with pytest.raises(HfHubHTTPError, match="409"):
        api().create_repo(NAME)
    api().update_repo_settings(NAME, private=False)
    assert not hub.repository(NAME).private
    api().delete_repo(NAME)
    assert not api().repo_exists(NAME)


def test_small_files_come_back_and_a_commit_can_delete(repository: HubServer) -> None:
    upload(b"one", "a.txt")
    upload(b"two", "folder/b.txt")
    assert (download("a.txt"), download("folder/b.txt")) == (b"one", b"two")
    assert api().list_repo_files(NAME) == [".gitattributes", "a.txt", "folder/b.txt"]
    assert [entry.path for entry in api().list_repo_tree(NAME)] == [".gitattributes", "a.txt", "folder"]
    changes = [CommitOperationAdd("c.txt", b"three"), CommitOperationDelete("folder/")]
    api().create_commit(NAME, changes, commit_message="one commit")
    assert api().list_repo_files(NAME) == [".gitattributes", "a.txt", "c.txt"]
    titles = [commit.title for commit in api().list_repo_commits(NAME)]
    assert titles[0] == "one commit" and titles[-1] == "initial commit" and len(titles) == 4


@pytest.mark.parametrize(("size", "parts"), [(3_000, 0), (25_000, 3)])
def test_a_large_file_travels_whole_or_in_parts(repository: HubServer, size: int, parts: int) -> None:
    repository.hub.part_size = 10_000
    content = os.urandom(size)
    upload(content, "model.safetensors")
    stored = repository.repository(NAME).head.files["model.safetensors"]
    assert stored.sha256 is not None and stored.size == size
    whole = 0 if parts else 1
    assert len(repository.requests("PUT", "/large/")) == (parts or whole)
    assert download("model.safetensors") == content
    (info,) = api().get_paths_info(NAME, ["model.safetensors"])
    assert info.lfs is not None and info.lfs.sha256 == stored.sha256
    upload(content, "copy.safetensors")
    assert len(repository.requests("PUT", "/large/")) == (parts or whole)  # the Hub has this content already


def test_a_large_file_is_read_in_ranges(repository: HubServer) -> None:
    content = bytes(range(256)) * 100
    upload(content, "weights.bin")
    address = f"{repository.url}/{NAME}/resolve/main/weights.bin"

    def ask(wanted: str) -> tuple[int, bytes]:
        answer = get_session().get(address, headers={"Range": wanted})
        return answer.status_code, answer.content

    assert ask("bytes=10-19") == (206, content[10:20])
    assert ask("bytes=25590-") == (206, content[-10:])
    assert ask("bytes=-5") == (206, content[-5:])
    assert ask("bytes=99999-") == (416, b"")


def test_revisions_are_branches_tags_and_commits(repository: HubServer) -> None:
    first = upload(b"first", "a.txt")
    api().create_tag(NAME, tag="v1")
    api().create_branch(NAME, branch="try/this")
    second = upload(b"second", "a.txt", revision="try/this")
    assert (download("a.txt"), download("a.txt", revision="try/this")) == (b"first", b"second")
    assert (download("a.txt", revision="v1"), download("a.txt", revision=second)) == (b"first", b"second")
    references = api().list_repo_refs(NAME)
    assert {branch.name: branch.target_commit for branch in references.branches} == {"main": first, "try/this": second}
    assert {tag.name: tag.target_commit for tag in references.tags} == {"v1": first}
    with pytest.raises(HfHubHTTPError, match="409"):
        api().create_tag(NAME, tag="v1")
    with pytest.raises(RevisionNotFoundError):
        download("a.txt", revision="v2")
    with pytest.raises(EntryNotFoundError):
        download("b.txt")
    api().delete_tag(NAME, tag="v1")
    api().delete_branch(NAME, branch="try/this")
    assert [branch.name for branch in api().list_repo_refs(NAME).branches] == ["main"]


def test_a_commit_upon_another_state_is_refused(repository: HubServer) -> None:
    before = repository.repository(NAME).head.id
    upload(b"one", "a.txt")
    with pytest.raises(HfHubHTTPError, match="412"):
        api().create_commit(NAME, [CommitOperationAdd("b.txt", b"")], commit_message="late", parent_commit=before)


def test_who_may_see_and_who_may_write(hub: HubServer) -> None:
    api().create_repo(NAME, private=True)
    upload(b"secret", "a.txt")
    for token in (None, STRANGER_TOKEN):
        with pytest.raises(RepositoryNotFoundError):
            api(token).repo_info(NAME)
        with pytest.raises(RepositoryNotFoundError):
            download("a.txt", token=token)
    assert download("a.txt", token=READ_TOKEN) == b"secret"
    with pytest.raises(HfHubHTTPError, match="403 Forbidden") as error:
        api(READ_TOKEN).upload_file(path_or_fileobj=b"", path_in_repo="b.txt", repo_id=NAME)
    assert error.value.response.status_code == 403
    with pytest.raises(HfHubHTTPError, match="Invalid user token"):
        api("hf_nobody").whoami()
    about = api(READ_TOKEN).whoami()
    assert (about["name"], about["auth"]["accessToken"]["role"]) == ("tester", "read")


def test_a_gated_repository_shows_itself_but_not_its_files(repository: HubServer) -> None:
    upload(b"gated", "a.txt")
    api().update_repo_settings(NAME, gated="auto")
    assert api(None).repo_info(NAME).gated == "auto"
    with pytest.raises(GatedRepoError):
        download("a.txt", token=STRANGER_TOKEN)
    assert download("a.txt", token=READ_TOKEN) == b"gated"


def test_a_token_comes_from_the_environment(repository: HubServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", READ_TOKEN)
    assert HfApi().whoami()["name"] == "tester"
    assert repository.log[-1].account == "tester"


@pytest.mark.parametrize("status", [401, 403, 404, 500])
def test_errors_on_request(repository: HubServer, status: int) -> None:
    repository.faults.append(Fault("POST", "/commit/", status=status, times=99))
    with pytest.raises(HfHubHTTPError) as error:
        upload(b"one", "a.txt")
    assert error.value.response.status_code == status
    repository.faults.clear()
    upload(b"one", "a.txt")
    assert download("a.txt") == b"one"


def test_waits_and_broken_connections_on_request(repository: HubServer) -> None:
    repository.faults.append(Fault("GET", "whoami", seconds=0.3))
    began = time.monotonic()
    assert api().whoami()["name"] == "tester"
    assert time.monotonic() - began >= 0.3
    repository.faults.append(Fault("GET", "whoami", drops=True))
    answers = [seen.status for seen in repository.requests("GET", "whoami")]
    with pytest.raises(Exception, match="disconnected"):
        get_session().get(f"{repository.url}/api/whoami-v2")
    assert [seen.status for seen in repository.requests("GET", "whoami")] == [*answers, 0]


def test_a_stopped_hub_refuses_connections_and_remembers(repository: HubServer) -> None:
    upload(b"one", "a.txt")
    repository.stop()
    with pytest.raises(Exception, match="refused"):
        get_session().get(f"{repository.url}/api/models/{NAME}")
    repository.start()
    assert download("a.txt") == b"one"


def test_without_the_fixture_no_hub_is_reached() -> None:
    with pytest.raises(OfflineModeIsEnabled):
        HfApi().whoami(token=WRITE_TOKEN)
    assert os.environ["HF_HUB_OFFLINE"] == "1"
    assert constants.ENDPOINT.startswith("http://127.0.0.1:") and constants.HF_HUB_DISABLE_XET
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", int(constants.ENDPOINT.rpartition(":")[2])), timeout=1)


@pytest.mark.parametrize("host", ["192.0.2.1", "2001:db8::1", "huggingface.co"])
def test_no_test_reaches_another_machine(host: str) -> None:
    with pytest.raises(PermissionError, match=host):
        socket.create_connection((host, 443), timeout=1)
