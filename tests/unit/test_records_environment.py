"""What a run says of the machine, the versions and the commit it ran with."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from hfpipe.records.environment import describe_environment, find_git_commit


def test_the_environment_is_described_without_torch() -> None:
    facts: dict[str, Any] = describe_environment(gpus=["H200"])
    assert facts["hardware"]["gpus"] == ["H200"]
    assert facts["hardware"]["cores"] >= 1
    assert facts["hardware"]["memory_bytes"] > 2**28
    assert facts["versions"]["python"] == ".".join(map(str, sys.version_info[:3]))
    assert facts["versions"]["transformers"].count(".") >= 1
    json.dumps(facts)


def test_the_commit_says_when_files_differ_from_it(tmp_path: Path) -> None:
    assert find_git_commit(tmp_path) is None
    environment = {**os.environ, "GIT_CONFIG_GLOBAL": os.devnull}
    author = ["-c", "user.name=a", "-c", "user.email=a@b.c"]
    (tmp_path / "file").write_text("1")
    for words in (["init", "-q"], ["add", "."], [*author, "commit", "-qm", "x"]):
        subprocess.run(["git", "-C", str(tmp_path), *words], check=True, env=environment)
    commit = find_git_commit(tmp_path)
    assert commit is not None
    assert len(commit) == 40
    (tmp_path / "file").write_text("2")
    assert find_git_commit(tmp_path) == f"{commit}+dirty"
