"""The commands for separate machines: files, the SuperLink's options, and mistakes."""

from __future__ import annotations

import math
import os
import tomllib
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from common.data import load, write_shards
from common.errors import ConfigError, RunError
from experiments import deploy_cli
from experiments.identity import hosts_of
from experiments.processes import free_ports, module
from transport import address, control, serving

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
    reached: list[Any] = []
    monkeypatch.setattr(address, "await_superlink", lambda *given: reached.append(given))
    log, *_ = write_shards(load("synthetic", "devices=6,items=30,length=8"), 2, tmp_path / "logs")
    call("enroll", "key", str(tmp_path / "key"))
    options = ["--key", str(tmp_path / "key"), "--root-certificates", str(certificates / "ca.pem")]
    options += ["--node-config", 'attack="sign_flip"', "--ready-file", str(tmp_path / "ready")]
    said = call("node", "--superlink", "h:9092", "--data", str(log), *options)
    assert "node-000.parquet: 3 devices; connecting to h:9092" in said
    assert reached[0][0] == ("h", 9092)
    assert reached[0][3] == deploy_cli.WAIT_S
    (given,) = calls
    assert given[-1]["wait_s"] == deploy_cli.WAIT_S
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
    call("superlink", "--insecure", "--database", "x.db", "--control-api-address", "h:1", "--help")
    local = ["--fleet-api-address", "127.0.0.1:9092", "--serverappio-api-address", "127.0.0.1:9091"]
    given = ["--insecure", "--database", "x.db", "--control-api-address", "h:1", "--help"]
    assert called == [[*module("transport.superlink"), *local, *given]]
    assert "-P" in called[0]
    assert os.environ["PYTHONSAFEPATH"] == "1"


# Mistakes with addresses, certificates and hosts.

OWN = ["localhost", "127.0.0.1"]


@pytest.mark.parametrize(
    ("hosts", "names"),
    [
        (["fed.example.org"], ["fed.example.org", *OWN]),
        (["fed.example.org", "192.0.2.10"], ["fed.example.org", "192.0.2.10", *OWN]),
        (["localhost"], OWN),
        (["127.0.0.1", "fed"], ["127.0.0.1", "fed", "localhost"]),
        (["::1", "*.example.org"], ["::1", "*.example.org", *OWN]),
    ],
)
def test_a_certificate_always_serves_its_own_machine(
    hosts: list[str], names: list[str], tmp_path: Path
) -> None:
    given = [word for host in hosts for word in ("--host", host)]
    said = call("enroll", "ca", *given, "--dir", str(tmp_path))
    assert hosts_of(tmp_path / "server.pem") == names
    assert f"server.pem for {', '.join(names)} made" in said


@pytest.mark.parametrize("host", ["https://fed.example.org", "fed.example.org:9092", "", "a b", "fed/x", "ä"])
def test_a_host_is_a_name_or_an_address(host: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="expected a name or an address without scheme and port"):
        call("enroll", "ca", "--host", host, "--dir", str(tmp_path / "c"))
    assert not (tmp_path / "c").exists()


def test_a_certificate_that_would_lose_hosts_is_kept(certificates: Path) -> None:
    before = (certificates / "server.pem").read_bytes()
    with pytest.raises(
        ConfigError, match=r"without fed\.example\.org .*add --host fed\.example\.org, or remove"
    ):
        call("enroll", "ca", "--host", "other.example.org", "--dir", str(certificates))
    assert (certificates / "server.pem").read_bytes() == before
    call("enroll", "ca", "--host", "other", "--host", "fed.example.org", "--dir", str(certificates))
    assert hosts_of(certificates / "server.pem") == ["other", "fed.example.org", *OWN]


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (["--root-certificates", "nowhere/ca.pem"], "--root-certificates nowhere/ca.pem: No such file"),
        (["--insecure", "--superlink", "localhost"], "--superlink 'localhost': no port"),
        (["--insecure", "--superlink", "https://localhost:9092"], "leave out https://"),
        (["--insecure", "--superlink", "localhost:99999"], "port '99999'"),
        (["--insecure", "--superlink", "localhost:"], "port ''"),
    ],
)
def test_a_node_that_can_never_connect_ends_at_once(options: list[str], told: str, tmp_path: Path) -> None:
    log, *_ = write_shards(load("synthetic", "devices=6,items=30,length=8"), 2, tmp_path / "logs")
    with pytest.raises(ConfigError) as caught:
        call("node", "--superlink", "h:1", "--data", str(log), *options)
    assert told in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "control", ["localhost", "http://localhost:9093", "localhost:x", ":9093", "a/b:9093"]
)
def test_keys_are_handed_in_at_an_address(control: str, tmp_path: Path) -> None:
    call("enroll", "key", str(tmp_path / "key"))
    with pytest.raises(ConfigError, match="--control .*expected"):
        call("enroll", "add", str(tmp_path / "key.pub"), "--insecure", "--control", control)


@pytest.mark.parametrize("api", ["fleet", "control", "runtime"])
def test_a_wrong_address_of_the_server_is_told_before_it_starts(
    api: str, certificates: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(deploy_cli.os, "execv", lambda *_: pytest.fail("it started"))
    port = {"fleet": 9092, "control": 9093, "runtime": 9091}[api]
    with pytest.raises(ConfigError, match=f"^--{api} 'nonsense': no port; .*as in nonsense:{port}$"):
        call("server", "--dir", str(certificates), f"--{api}", "nonsense")


def test_a_file_that_is_no_public_key_is_told_in_our_words(tmp_path: Path) -> None:
    call("enroll", "key", str(tmp_path / "node.key"))
    (tmp_path / "text").write_text("no key")
    for name, told in (
        ("node.key", r"node\.key: this is a private key, which stays on its node; give \S+node\.key\.pub$"),
        ("nodes.key.pub", r"^cannot read \S+: No such file or directory; did you mean \S+node\.key\.pub\?$"),
        ("text", "text: no public key in OpenSSH format, as `fedsieve enroll key FILE` writes it to FILE"),
    ):
        with pytest.raises(ConfigError, match=told):
            call("enroll", "add", str(tmp_path / name), "--insecure")


@pytest.mark.parametrize("command", [("submit",), ("enroll", "add")])
def test_how_long_a_superlink_is_waited_for_can_be_said(command: tuple[str, ...], tmp_path: Path) -> None:
    call("enroll", "key", str(tmp_path / "node.key"))
    files = [str(tmp_path / "node.key.pub")] if command[0] == "enroll" else []
    here = ["--insecure", "--control", f"127.0.0.1:{free_ports(1)[0]}"]
    with pytest.raises(RunError, match=r"given up after 0\.1 s; see --wait"):
        call(*command, *files, *here, "--wait", "0.1")


def test_a_superlink_may_be_waited_for_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without an end there is no number of seconds that a wait of Python's would take."""
    monkeypatch.setattr(control, "await_superlink", lambda *_: None)
    asked: list[float | None] = []
    ready = SimpleNamespace(result=lambda timeout: asked.append(timeout))
    monkeypatch.setattr(control, "channel_ready_future", lambda _: ready)
    with control.control_stub("127.0.0.1:1", None, math.inf), control.control_stub("127.0.0.1:1", None, 5):
        pass
    assert asked[0] is None
    assert asked[1] == pytest.approx(5, abs=1)
