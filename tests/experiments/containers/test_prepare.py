"""``.env`` as settings: what it may say, and that a mistake is told with the name of the variable."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from common.errors import ConfigError
from experiments.containers.prepare import KEYS, wanted

ROOT = Path(__file__).resolve().parents[3]


def env_file() -> dict[str, str]:
    lines = (ROOT / ".env").read_text().splitlines()
    return dict(line.split("=", 1) for line in lines if line and not line.startswith("#"))


def test_the_file_as_it_is_makes_a_robust_attacked_run() -> None:
    asked = wanted(env_file())
    assert asked.config.strategy.aggregator.name == "sieve"
    assert asked.config.attack.name == "label_to_target"
    assert (asked.config.train.rounds, asked.config.eval.every) == (60, 20)
    assert asked.name == "ml-100k-sieve"


def test_the_file_names_every_variable_and_compose_passes_each_on() -> None:
    compose = (ROOT / "docker-compose.yml").read_text()
    for key in [*KEYS, "CONFIG", "DATA", "SETTINGS", "RUN_NAME"]:
        assert key in env_file()
        assert re.search(rf"^  {key}: \$\{{{key}:-", compose, re.MULTILINE), key
    for key in env_file():
        assert f"${{{key}" in compose, key


def test_no_value_has_a_comment_behind_it() -> None:
    assert not [value for value in env_file().values() if "#" in value]  # compose would take it for a value


def test_variables_and_settings_win_in_this_order() -> None:
    found = wanted(
        {"STRATEGY": "krum", "ROUNDS": " 7 ", "SEED": "", "SETTINGS": "train.rounds=9 model.dim=32"}
    )
    assert found.config.strategy.aggregator.name == "krum"
    assert (found.config.train.rounds, found.config.model.dim, found.config.seed) == (9, 32, 0)


def test_an_own_log_is_a_file_of_the_data_folder(tmp_path: Path) -> None:
    (tmp_path / "shop.csv").write_text("user,item,time\n1,2,3\n")
    found = wanted({"DATA": "shop.csv", "RUN_NAME": "mine"}, tmp_path)
    assert found.config.data.path == str(tmp_path / "shop.csv")
    assert found.name == "mine"


@pytest.mark.parametrize(
    ("environment", "text"),
    [
        ({"ROUNDS": "many"}, "ROUNDS (train.rounds): "),
        ({"MALICIOUS_SHARE": "2"}, "MALICIOUS_SHARE (attack.share): "),
        ({"DATA": "ml-2k"}, "DATA: 'ml-2k' is neither a known data set (ml-100k"),
        ({"DATA": "../secret.csv"}, "nor a file"),
        ({"CONFIG": "none"}, "CONFIG: 'none'; valid: amazon-beauty, amazon-beauty-long, amazon-sports"),
        ({"SETTINGS": "'open"}, "SETTINGS: No closing quotation"),
        ({"SETTINGS": "train.round=1"}, "unknown setting train.round: did you mean 'train.rounds'? valid: "),
        ({"RUN_NAME": "a/b"}, "RUN_NAME: 'a/b'"),
        ({"RUN_NAME": ".."}, "RUN_NAME: '..'"),
    ],
)
def test_a_mistake_is_told_with_its_variable(environment: dict[str, str], text: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(text)) as found:
        wanted(environment)
    assert str(found.value).startswith(".env: ")


@pytest.mark.parametrize("value", ["x", "0", "65536", "-1", "127.0.0.1:9464"])
def test_a_metrics_port_that_is_none_ends_it(value: str) -> None:
    with pytest.raises(ConfigError, match=r"\.env: METRICS_PORT: .*expected a port"):
        wanted({"METRICS_PORT": value})
    assert wanted({"METRICS_PORT": "9464"}) == wanted({"METRICS_PORT": ""})


def test_a_form_of_logs_that_does_not_exist_ends_it() -> None:
    with pytest.raises(ConfigError, match=r"\.env: LOG_FORMAT: 'xml'; valid: text, json"):
        wanted({"LOG_FORMAT": "xml"})
    assert wanted({"LOG_FORMAT": "json"}) == wanted({})
