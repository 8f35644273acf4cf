"""Secrets taken out of texts: those of the environment in every form, what looks like one, and nothing else."""

import base64
import logging
import sys
from pathlib import Path
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hfpipe.config import load_config
from hfpipe.errors import ConfigError, Problem
from hfpipe.secrecy import HidingFormatter, find_secrets, hide, hide_in, hide_in_tracebacks, is_secret_name

SECRET = "Zk3/x+9=canary?7"


def test_names_of_secrets() -> None:
    secret = ("HF_TOKEN", "hub_token", "token", "OPENAI_API_KEY", "AWS_SECRET_ACCESS_KEY", "AWS_ACCESS_KEY_ID")
    secret += (
        "DB_PASSWORD",
        "apikey",
        "my-api-key",
        "GOOGLE_CREDENTIALS",
        "SSH_PRIVATE_KEY",
        "WANDB_API_KEY",
        "SECRET",
    )
    plain = ("TOKENIZERS_PARALLELISM", "include_num_input_tokens_seen", "tokenizer_name", "KEYBOARD", "SSH_AUTH_SOCK")
    plain += ("label_column_name", "metric_for_best_model", "max_tokens", "HOME", "secretary")
    assert [name for name in secret if not is_secret_name(name)] == []
    assert [name for name in plain if is_secret_name(name)] == []


@pytest.mark.parametrize("name", ["HF_TOKEN", "AWS_SECRET_ACCESS_KEY", "MY_PASSWORD"])
def test_values_of_the_environment_are_hidden_in_every_form(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(name, SECRET)
    encoded = base64.b64encode(SECRET.encode()).decode()
    for form in (SECRET, quote(SECRET, safe=""), encoded, encoded.rstrip("=")):
        assert SECRET[:6] not in hide(f"before {form} after")
        assert hide(f"before {form} after").replace("=", "") == "before *** after"
    assert hide_in({"a": [f"x{SECRET}", 3, None], "b": {"c": SECRET}}) == {"a": ["x***", 3, None], "b": {"c": "***"}}


def test_what_a_proxy_a_login_and_netrc_hold_is_hidden(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "netrc").write_text("machine example.org login me password netrc-0-secret\n")
    (tmp_path / "token").write_text("login-0-secret\n")
    environment = {
        "https_proxy": "http://me:proxy%2F0%2Fsecret@proxy:8080",
        "HF_TOKEN_PATH": str(tmp_path / "token"),
        "NETRC": str(tmp_path / "netrc"),
        "GOOGLE_APPLICATION_CREDENTIALS": str(tmp_path / "token"),  # a path is no secret
        "SHORT_TOKEN": "abc",
        "VAULT_SECRET_BACKEND": "filesystem",  # a word that means something else elsewhere
    }
    found = find_secrets(environment)
    assert {"netrc-0-secret", "login-0-secret", "proxy/0/secret", "proxy%2F0%2Fsecret"} <= set(found)
    assert not {"abc", "filesystem", str(tmp_path / "token"), ""} & set(found)
    (tmp_path / "netrc").write_text("machine")  # what cannot be read hides nothing, and stops nothing
    assert "netrc-0-secret" not in find_secrets(environment)


HIDDEN = {
    "see https://me:pass@host/x": "see https://***@host/x",
    "https:/me:pass@host/x": "https:/***@host/x",  # a path has lost a slash
    "https://me:pa/ss:x@host/x": "https://***@host/x",
    "https://host/x?a=1&token=abc&b=2": "https://host/x?a=1&token=***&b=2",
    "https://s3/x?X-Amz-Signature=abc&X-Amz-Security-Token=d": "https://s3/x?X-Amz-Signature=***&X-Amz-Security-Token=***",
    "https://blob/x?sv=1&sig=a%2Bb": "https://blob/x?sv=1&sig=***",
    "{'authorization': 'Bearer hf_abcdefgh12345'}": "{'authorization': 'Bearer ***'}",
    "Authorization: Basic bWU6cGFzcw==": "Authorization: Basic ***",
    "hf_" + "aB3" * 11: "***",
    "key sk-proj-" + "aB3" * 8: "key ***",
    "{train_file: a.csv, api_key: abcdef0123}": "{train_file: a.csv, api_key: ***}",
    "password='abcdef0123'": "password='***'",
    "ghp_" + "a1" * 18: "***",
    "AKIA" + "ABCD" * 4: "***",
}


@pytest.mark.parametrize("text", HIDDEN)
def test_what_looks_like_a_secret_is_hidden(text: str) -> None:
    assert hide(text) == HIDDEN[text]


@pytest.mark.parametrize(
    "text",
    [
        "a basic understanding of the bearer of good news",
        "https://host/owner/name@main",
        "http://127.0.0.1:8080/owner/name@main",
        "hf://datasets/owner/name@refs/convert/parquet",
        "train.csv:17: user@example.org",
        "hf_hub_download and hf_transfer",
        "sk-learn-has-no-number-in-its-name",
        "C:/data/me@home",
        "key=1, token=2, pad_token: <|padding0|>, mask_token=[MASK00000]",
        "tokens_per_step 65,536 = 8 x 4 x 2 x 1,024",
    ],
)
def test_what_is_none_stays(text: str) -> None:
    assert hide(text) == text


@given(st.text(max_size=60))
def test_hiding_twice_changes_nothing(text: str) -> None:
    assert hide(hide(text)) == hide(text)


def test_problems_logs_and_tracebacks_hide(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("HF_TOKEN", SECRET)
    assert str(Problem(SECRET, SECRET, SECRET, SECRET)) == "***: ***: ***; ***"
    assert SECRET not in str(ConfigError(Problem("a", SECRET)))
    record = logging.LogRecord("a", logging.INFO, "a.py", 1, "said %s", (SECRET,), None)
    assert HidingFormatter("%(message)s").format(record) == "said ***"
    monkeypatch.setattr(sys, "excepthook", sys.excepthook)
    hide_in_tracebacks()
    error = RuntimeError(f"told {SECRET}")
    sys.excepthook(RuntimeError, error, None)
    assert capsys.readouterr().err.endswith("RuntimeError: told ***\n")


@pytest.mark.parametrize(
    "words",
    [
        ["--hub_token", SECRET],
        [f"--hub-token={SECRET}"],
        [f"token={SECRET}"],
        ["--wandb_api_key", SECRET],
        ["--hub_token", SECRET, "--hub_token", SECRET],
        ["--dataset_mixture", f"[{{train_file: a.csv, api_key: {SECRET}}}]"],
        ["--config_overrides", f"{{secret_key: {SECRET}, x: [1]}}"],
    ],
)
def test_a_refused_secret_is_not_repeated(words: list[str]) -> None:
    with pytest.raises(ConfigError) as caught:
        load_config(["--train_file", "a.csv", *words], recipe="pretrain_causal_lm")
    assert SECRET not in str(caught.value)


def test_a_setting_is_recorded_without_its_password_and_known_again() -> None:
    words = ["--train_file", "a.csv", "--run_name", "https://me:pass@host/x?token=abc"]
    config = load_config(words, recipe="pretrain_causal_lm")
    assert config.flat()["run_name"] == "https://***@host/x?token=***"
    assert config.trainer_arguments["run_name"] == words[-1]  # what uses it gets it whole
