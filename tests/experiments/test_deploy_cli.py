"""The commands for separate machines: files, the SuperLink's options, and mistakes."""

from __future__ import annotations

import os
import tomllib
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from common.data import load, write_shards
from common.errors import ConfigError
from experiments import deploy_cli
from experiments.processes import module
from transport import serving

app = typer.Typer()
deploy_cli.register(app)


def call(*command: str) -> str:
    done = CliRunner().invoke(app, list(command), catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return done.output


@pytest.fixture
def certificates(tmp_path: Path) -> Path:
    call("enroll", "ca", "--host", "fed.example.org", "--dir", str(tmp_path / "certificates"))
    return tmp_path / "certificates"


def test_an_authority_is_made_once_and_kept(certificates: Path) -> None:
    assert sorted(path.name for path in certificates.iterdir()) == [
        "ca.key",
        "ca.pem",
        "server.key",
        "server.pem",
    ]
    before = (certificates / "server.pem").read_bytes()
    assert "is there already" in call("enroll", "ca", "--host", "fed.example.org", "--dir", str(certificates))
    assert (certificates / "server.pem").read_bytes() == before


def test_a_key_names_the_file_that_leaves_the_node(tmp_path: Path) -> None:
    assert "node.key.pub" in call("enroll", "key", str(tmp_path / "node.key"))


def test_the_superlink_takes_only_enrolled_nodes_and_keeps_its_control_to_itself(
    certificates: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[list[str]] = []
    monkeypatch.setattr(deploy_cli.os, "execv", lambda path, command: calls.append(command))
    call("server", "--dir", str(certificates), "--database", "state.db")
    (command,) = calls
    for flag in ("--enable-supernode-auth", "--disable-runtime-dependency-installation", "--ssl-certfile"):
        assert flag in command
    assert "--insecure" not in command
    assert command[command.index("--control-api-address") + 1] == "127.0.0.1:9093"
    assert command[command.index("--database") + 1] == "state.db"
    assert deploy_cli.os.environ["FLWR_TELEMETRY_ENABLED"] == "0"


def test_the_metrics_port_reaches_the_server_app_by_the_environment(
    certificates: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(deploy_cli.os, "execv", lambda path, command: None)
    monkeypatch.setattr(deploy_cli.os, "environ", found := {})
    call("server", "--dir", str(certificates))
    assert "FEDSIEVE_METRICS" not in found
    call("server", "--dir", str(certificates), "--metrics-port", "9464")
    assert found["FEDSIEVE_METRICS"] == "127.0.0.1:9464"
    call("server", "--dir", str(certificates), "--metrics-port", "1", "--metrics-host", "0.0.0.0")
    assert found["FEDSIEVE_METRICS"] == "0.0.0.0:1"


def test_a_server_without_certificates_says_how_to_make_them(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="fedsieve enroll ca"):
        call("server", "--dir", str(tmp_path))


def test_a_node_serves_its_log(certificates: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[tuple[Any, ...]] = []
    monkeypatch.setattr(serving, "run_node", lambda *given, **named: calls.append((*given, named)))
    monkeypatch.setattr(deploy_cli.signal, "signal", lambda *_: None)
    log, *_ = write_shards(load("synthetic", "devices=6,items=30,length=8"), 2, tmp_path / "logs")
    call("enroll", "key", str(tmp_path / "key"))
    options = ["--key", str(tmp_path / "key"), "--root-certificates", str(certificates / "ca.pem")]
    options += ["--node-config", 'attack="sign_flip"', "--ready-file", str(tmp_path / "ready")]
    said = call("node", "--superlink", "h:9092", "--data", str(log), *options)
    assert "node-000.parquet: 3 devices; connecting to h:9092" in said
    (given,) = calls
    assert given[1:4] == (
        "h:9092",
        {"path": str(log), "attack": "sign_flip"},
        (certificates / "ca.pem").read_bytes(),
    )
    assert given[4][1].curve.name == "secp384r1"
    given[-1]["pulse"].beat()
    assert (tmp_path / "ready").exists()


@pytest.mark.parametrize(
    "command",
    [
        ["node", "--superlink", "h:1", "--data", "x.parquet"],
        ["node", "--superlink", "h:1", "--data", "x.parquet", "--insecure", "--root-certificates", "ca.pem"],
        ["enroll", "add", "key.pub"],
    ],
)
def test_it_is_either_tls_or_a_word_that_it_is_not(command: list[str]) -> None:
    with pytest.raises(ConfigError, match="either --root-certificates"):
        call(*command)


def test_an_app_folder_has_what_flwr_run_takes(tmp_path: Path) -> None:
    """Both components are there as files; a folder that exists is refused."""
    told = call("app", str(tmp_path / "mine"))
    assert told == f"submit it: flwr run {tmp_path / 'mine'} CONNECTION --stream\n"
    project = tomllib.loads((tmp_path / "mine" / "pyproject.toml").read_text())
    assert project["tool"]["flwr"]["app"]["components"]["clientapp"] == "client.app:app"
    for component in project["tool"]["flwr"]["app"]["components"].values():
        file = component.partition(":")[0].replace(".", "/")
        assert (tmp_path / "mine" / f"{file}.py").is_file()
    with pytest.raises(ConfigError, match="mine: File exists; expected a new folder"):
        call("app", str(tmp_path / "mine"))


def test_superlink_passes_its_arguments_on(monkeypatch: pytest.MonkeyPatch) -> None:
    called: list[list[str]] = []
    monkeypatch.setattr(os, "execv", lambda program, command: called.append(command))
    monkeypatch.setattr(os, "environ", dict(os.environ))
    call("superlink", "--insecure", "--database", "x.db", "--help")
    assert called == [[*module("transport.superlink"), "--insecure", "--database", "x.db", "--help"]]
    assert "-P" in called[0]
    assert os.environ["PYTHONSAFEPATH"] == "1"
