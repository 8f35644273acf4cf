"""Bad files and configurations through the command line: exit code 2, one readable message with its place."""

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest
from bad_files import csv_text

from hfpipe.cli import app

SOUND = ("recipe: finetune_classifier", "train_file: a.csv", "model_name_or_path: org/model")
PROGRAM = "import sys; from hfpipe.cli import main; sys.argv[1:] = ['run', 'run.yaml']; main()"
POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:0123456789abcdef\nsize 12345\n"

FILES: dict[str, tuple[bytes, str]] = {
    "an unquoted delimiter": (csv_text("good, but slow,pos\n"), "a.csv:2: 3 fields: the header has 2 (text, label)"),
    "a quote that is never closed": (csv_text('x,pos\n"y,neg\n'), 'a.csv:3: a quote (") opens here: it is never'),
    "semicolons": (csv_text("x;pos\n", "text;label", ";"), "a.csv:1: one column, 'text;label'"),
    "another encoding": (csv_text("café,pos\n").decode().encode("latin-1"), "a.csv:2: byte 0xE9 at offset 14"),
    "two labels of one": (csv_text("x,Pos\n"), "a.csv: labels 'Pos' (1 row: a.csv:2)"),
    "nothing but a header": (b"text,label\n", "a.csv: no row can be used: 0 rows were read"),
    "a pointer of Git LFS": (POINTER, "a.csv: .csv by name: its content is a pointer of Git LFS"),
    "the header again": (csv_text("") * 2, "a.csv:4: 'text,label': the header again"),
}
LINES: dict[str, tuple[Sequence[str], str]] = {
    "a typo": ((*SOUND, "learning_rte: 1"), "run.yaml:4: learning_rte: no such setting; did you mean 'learning_rate'?"),
    "a key twice": ((*SOUND, "seed: 1", "seed: 2"), "run.yaml:5: seed: given already at run.yaml:4"),
    "a bomb of aliases": ((*SOUND, "a: &a [x]", "b: [*a, *a]"), "run.yaml:4: anchors and aliases are not allowed"),
    "a tag of Python": ((*SOUND, "run_name: !!python/name:os.system"), "run.yaml:4: tag:yaml.org,2002:python/name:"),
    "no number": ((*SOUND, "learning_rate: nan"), "run.yaml:4: learning_rate: nan: must be a finite number"),
}


@pytest.fixture(autouse=True)
def _in_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("run.yaml").write_text("\n".join(SOUND), encoding="utf-8")


def answer(command: str, capsys: pytest.CaptureFixture[str]) -> str:
    """Return what a command prints as it ends with 2."""
    with pytest.raises(SystemExit) as ended:
        app([command, "run.yaml"])
    assert ended.value.code == 2
    told = capsys.readouterr().err
    assert "Traceback" not in told
    return told


@pytest.mark.parametrize(("content", "words"), FILES.values(), ids=FILES)
def test_bad_files_end_a_run_before_it_begins(content: bytes, words: str, capsys: pytest.CaptureFixture[str]) -> None:
    Path("a.csv").write_bytes(content)
    told = answer("run", capsys)
    assert "the data has 1 problem:" in told
    assert f"\n  - {words}" in told
    assert [path.name for path in Path().iterdir() if path.name not in ("a.csv", "run.yaml")] == []


def test_check_says_what_is_wrong_with_a_file_beside_what_else_is_known(capsys: pytest.CaptureFixture[str]) -> None:
    content, words = FILES["an unquoted delimiter"]
    Path("a.csv").write_bytes(content)
    assert f"cannot work: {words}" in answer("check", capsys)


@pytest.mark.parametrize("command", ["check", "run"])
@pytest.mark.parametrize(("lines", "words"), LINES.values(), ids=LINES)
def test_bad_configurations_end_a_command_with_their_line(
    lines: Sequence[str], words: str, command: str, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("run.yaml").write_text("\n".join(lines), encoding="utf-8")
    told = answer(command, capsys)
    assert "the configuration has 1 problem:" in told
    assert f"\n  - {words}" in told


def test_a_process_of_its_own_says_the_same_and_no_more() -> None:
    Path("a.csv").write_bytes(FILES["an unquoted delimiter"][0])
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True)
    words = FILES["an unquoted delimiter"][1]
    remedy = "put a text that holds ',' in double quotes"
    assert (done.returncode, done.stderr) == (2, f"the data has 1 problem:\n  - {words}; {remedy}\n")
