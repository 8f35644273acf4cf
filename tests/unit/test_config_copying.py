"""Copying what ships: where a copy goes, what is said, and what is refused."""

from pathlib import Path

import pytest
from conftest import ROOT

from hfpipe.cli import app
from hfpipe.config import load_config
from hfpipe.config.copying import Copied, copy_shipped
from hfpipe.errors import ConfigError


@pytest.mark.parametrize(
    ("name", "source", "following"),
    [
        ("imdb/minilm", "recipes/imdb/minilm.yaml", "hfpipe run {}"),
        ("recipes/imdb/minilm.yaml", "recipes/imdb/minilm.yaml", "hfpipe run {}"),
        ("finetune_classifier", "recipes/finetune_classifier.py", "python {} --config FILE"),
        ("recipes/pretrain_causal_lm.py", "recipes/pretrain_causal_lm.py", "python {} --config FILE"),
        ("fsdp2", "accelerate_configs/fsdp2.yaml", "hfpipe run FILE|NAME --accelerate {}"),
        ("multi_node", "accelerate_configs/multi_node.yaml", "hfpipe run FILE|NAME --accelerate {}"),
        ("multi_node.sbatch", "accelerate_configs/multi_node.sbatch", "sbatch {} FILE|NAME"),
    ],
)
def test_a_copy_has_the_files_name_and_bytes(
    name: str, source: str, following: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)  # a path that exists would win over a name
    expected = Path("mine") / Path(source).name
    assert copy_shipped(name, Path("mine")) == Copied(expected, following.format(expected))
    assert expected.read_bytes() == (ROOT / source).read_bytes()


def test_a_copy_may_have_a_name_of_its_own_and_is_a_run_of_that_name(tmp_path: Path) -> None:
    copied = copy_shipped("imdb/minilm", tmp_path / "new" / "reviews.yaml")
    assert copied.path == tmp_path / "new" / "reviews.yaml"
    assert load_config(["--config", str(copied.path)]).output_dir == Path("runs/reviews")
    # the ending of another kind of file is the name of a folder
    assert copy_shipped("imdb/minilm", tmp_path / "v1.0").path == tmp_path / "v1.0" / "minilm.yaml"


def test_nothing_is_overwritten_unasked(tmp_path: Path) -> None:
    mine = tmp_path / "minilm.yaml"
    mine.write_text("mine")
    with pytest.raises(ConfigError, match=r"minilm\.yaml: exists; name another folder, or add --overwrite"):
        copy_shipped("imdb/minilm", tmp_path)
    assert mine.read_text() == "mine"
    copy_shipped("imdb/minilm", tmp_path, overwrite=True)
    assert mine.read_text().startswith("#")
    with pytest.raises(ConfigError, match="is the shipped file itself; name another folder"):
        copy_shipped("imdb/minilm", ROOT / "recipes" / "imdb", overwrite=True)


def test_what_cannot_be_written_is_told(tmp_path: Path) -> None:
    (tmp_path / "notes").write_text("mine")
    with pytest.raises(ConfigError, match=r"notes/minilm\.yaml: .*: cannot be written; name another folder"):
        copy_shipped("imdb/minilm", tmp_path / "notes")
    assert (tmp_path / "notes").read_text() == "mine"


def test_an_unknown_name_is_answered_by_the_closest(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"imdb/minlm: nothing of this name ships; did you mean 'imdb/minilm'\?"):
        copy_shipped("imdb/minlm", tmp_path)
    with pytest.raises(
        ConfigError, match=r"zzz: nothing of this name ships; these do: .*imdb/demo,.*multi_node\.sbatch"
    ):
        copy_shipped("zzz", tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_the_command_says_what_it_wrote_and_what_comes_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    for expected in (0, 2):
        with pytest.raises(SystemExit) as ended:
            app(["recipes", "copy", "imdb/minilm"])
        assert ended.value.code == expected
    printed = capsys.readouterr()
    assert printed.out == "wrote minilm.yaml\nnext: hfpipe run minilm.yaml\n"
    assert "minilm.yaml: exists; name another folder, or add --overwrite" in printed.err
