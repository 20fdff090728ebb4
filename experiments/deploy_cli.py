"""``fedsieve server``, ``superlink``, ``node``, ``app``, ``enroll``: a deployment on machines of its own."""

from __future__ import annotations

import math
import os
import signal
from pathlib import Path
from typing import Annotated, NoReturn

import typer

from common.errors import ConfigError
from common.printable import counted
from common.stopping import StopEvent
from experiments.processes import REPORT, import_path, module
from experiments.submit import CONTROL_WAIT_S, Wait, submit

CONTROL, FLEET, RUNTIME = "127.0.0.1:9093", "127.0.0.1:9092", "127.0.0.1:9091"
WAIT_S = 600.0
"""How long a node waits to be let in at first: an operator has to start the server and to enrol its key."""

enroll = typer.Typer(help="Certificates and keys: ca, key, add.", no_args_is_help=True)

Certificates = Annotated[
    Path, typer.Option("--dir", help="the folder with the authority and the server's files")
]
Roots = Annotated[Path | None, typer.Option("--root-certificates", help="the authority's ca.pem")]
Insecure = Annotated[bool, typer.Option("--insecure", help="plain text, for tests on one machine")]


def register(app: typer.Typer) -> None:
    """Add the commands to ``fedsieve``."""
    app.command()(server)
    anything = {"allow_extra_args": True, "ignore_unknown_options": True, "allow_interspersed_args": False}
    app.command("superlink", context_settings=anything, add_help_option=False)(superlink_as_given)
    app.command()(node)
    app.command("app")(write_app)
    app.command()(submit)
    app.add_typer(enroll, name="enroll")


def server(
    folder: Certificates = Path("certificates"),
    fleet: Annotated[str, typer.Option(help="where nodes connect")] = FLEET,
    control: Annotated[str, typer.Option(help="where runs and keys are taken: keep it private")] = CONTROL,
    database: Annotated[Path | None, typer.Option(help="keep nodes and runs over a restart")] = None,
    runtime: Annotated[str, typer.Option(help="for the server's own child: keep it on 127.0.0.1")] = RUNTIME,
    metrics_port: Annotated[
        int | None, typer.Option(min=0, max=65535, help="/metrics for Prometheus during runs; 9464 is usual")
    ] = None,
    metrics_host: Annotated[str, typer.Option(help="where /metrics listens")] = "127.0.0.1",
) -> None:
    """Start a SuperLink with TLS and enrolled nodes only, as `enroll ca` prepared it."""
    command = superlink(folder, fleet, control, database, runtime)
    if metrics_port is not None:  # for the ServerApp, which is a child of the SuperLink
        os.environ["FEDSIEVE_METRICS"] = f"{metrics_host}:{metrics_port}"
    _become(command)


def superlink_as_given(context: typer.Context) -> None:
    """Flower's SuperLink with the guard of its Fleet API; takes the arguments of `flower-superlink`.

    It listens on 127.0.0.1 where no address says otherwise.
    """
    given = {word.partition("=")[0] for word in context.args}
    local = {"fleet": FLEET, "control": CONTROL, "serverappio": RUNTIME}
    names = {f"--{api}-api-address": address for api, address in local.items()}
    usual = [word for name, address in names.items() if name not in given for word in (name, address)]
    _become([*module("transport.superlink"), *usual, *context.args])


def _become(command: list[str]) -> NoReturn:
    """Go on as the SuperLink, with what its children are to inherit; modules are found as they are here."""
    os.environ |= {"FLWR_TELEMETRY_ENABLED": "0", "FLWR_DISABLE_UPDATE_CHECK": "1"} | import_path() | REPORT
    os.execv(command[0], command)  # without a shell  # nosec B606


def superlink(
    folder: Path, fleet: str, control: str, database: Path | None, runtime: str = RUNTIME
) -> list[str]:
    """The command line of Flower's SuperLink. Raises ConfigError for a missing file and a wrong address."""
    from transport.address import parse

    for api, address in (("fleet", fleet), ("control", control), ("runtime", runtime)):
        parse(f"--{api}", address, api)
    for name in ("server.pem", "server.key", "ca.pem"):
        if not (folder / name).is_file():
            raise ConfigError(f"--dir {folder}: no {name} there; make it with `fedsieve enroll ca`")
    command = [
        *module("transport.superlink"),
        "--enable-supernode-auth",
        "--disable-runtime-dependency-installation",
    ]
    command += ["--ssl-certfile", str(folder / "server.pem"), "--ssl-keyfile", str(folder / "server.key")]
    command += ["--ssl-ca-certfile", str(folder / "ca.pem")]
    command += ["--fleet-api-address", fleet, "--control-api-address", control]
    command += ["--serverappio-api-address", runtime]
    return command + (["--database", str(database)] if database else [])


def node(
    superlink: Annotated[str, typer.Option(metavar="HOST:PORT", help="Fleet API of the SuperLink")],
    data: Annotated[Path, typer.Option("--data", help="this node's log, as `data split` writes it")],
    key: Annotated[Path | None, typer.Option(help="this node's enrolled private key")] = None,
    roots: Roots = None,
    insecure: Insecure = False,
    device: Annotated[str, typer.Option("--device", help="auto, cpu, cuda or cuda:N")] = "",
    extra: Annotated[str, typer.Option("--node-config", metavar="'a=1 b=\"x\"'", help="more settings")] = "",
    ready: Annotated[
        Path | None, typer.Option("--ready-file", help="young while connected, for a health check")
    ] = None,
    wait: Annotated[
        float, typer.Option("--wait", min=0, help="seconds to wait to be let in at first; 0: for ever")
    ] = WAIT_S,
) -> None:
    """Serve the devices of one log, until SIGTERM or Ctrl-C; the log never leaves this process."""
    import logging

    from attacks.app import node_settings, read_attacker
    from client.fleet import open_fleet
    from client.node import load_app, load_keys
    from common.logs import json_logs, plain_logs
    from emulation.federation import app_of
    from transport.address import await_superlink, parse
    from transport.link import Pulse
    from transport.serving import parse_node_config, run_node

    certificates = secured(roots, insecure)
    address = parse("--superlink", superlink, "fleet")
    config = {**parse_node_config(extra), "path": str(data.resolve())}
    config |= {"device": device} if device else {}
    attacker, settings = read_attacker(config), node_settings(config)
    fleet = open_fleet(settings)
    settings.tells.on(fleet.item)  # a misspelt attack or item is told now, and not in every round
    if attacker is not None:
        attacker.on(fleet)
    keys = load_keys(key) if key else None
    stop = StopEvent()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    if not json_logs("node"):
        logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
        plain_logs()
        typer.echo(f"{data.name}: {counted(len(fleet.numbers), 'device')}; connecting to {superlink}")
    logging.getLogger("flwr").setLevel(logging.WARNING)
    app = load_app(*app_of(config))
    wait_s = wait or math.inf
    await_superlink(address, certificates, stop, wait_s)
    run_node(app, superlink, config, certificates, keys, stop, pulse=Pulse(ready), wait_s=wait_s)


def secured(roots: Path | None, insecure: bool) -> bytes | None:
    """The authority's certificates, None for plain text. Raises ConfigError unless one is given."""
    from transport.address import read_certificates

    if insecure == (roots is not None):
        raise ConfigError("give either --root-certificates ca.pem or --insecure")
    return read_certificates("--root-certificates", roots) if roots else None


def write_app(folder: Annotated[Path, typer.Argument(help="a new folder")]) -> None:
    """Write the app that `flwr run` submits, where there is no checkout to submit."""
    from experiments.deployed import stage

    try:
        stage(folder)
    except OSError as error:
        raise ConfigError(f"{folder}: {error.strerror}; expected a new folder") from error
    typer.echo(f"submit it: flwr run {folder} CONNECTION --stream")


@enroll.command()
def ca(
    host: Annotated[
        list[str], typer.Option("--host", help="a name or address that nodes reach the server by")
    ],
    folder: Certificates = Path("certificates"),
) -> None:
    """Make a private authority and the server's certificate: ca.key, ca.pem, server.key, server.pem."""
    from experiments.identity import checked_host, hosts_of, make_authority, make_server

    host = [checked_host(one) for one in host]
    authority = folder / "ca.key", folder / "ca.pem"
    make_authority(*authority)
    made = make_server(folder / "server.key", folder / "server.pem", authority, host)
    names = ", ".join(hosts_of(folder / "server.pem"))
    typer.echo(f"{folder}/: server.pem for {names} {'made' if made else 'is there already'}")
    typer.echo("nodes need ca.pem; keep ca.key off line")


@enroll.command()
def key(file: Annotated[Path, typer.Argument(help="where to write the private key")]) -> None:
    """Make a node's key pair; only FILE.pub leaves the node."""
    from experiments.identity import make_node_key

    typer.echo(f"{make_node_key(file)}: the operator enrols it with `fedsieve enroll add`")


@enroll.command()
def add(
    files: Annotated[list[Path], typer.Argument(help="public keys of nodes")],
    control: Annotated[str, typer.Option(help="Control API of the SuperLink")] = CONTROL,
    roots: Roots = None,
    insecure: Insecure = False,
    wait: Wait = CONTROL_WAIT_S,
) -> None:
    """Let the holders of these keys connect."""
    from transport.control import enrol

    for file, number in enrol(control, secured(roots, insecure), files, wait or math.inf).items():
        typer.echo(f"{file}: node {number}")
