"""``fedsieve submit``: check a run's settings, hand it to a SuperLink, and follow it to its end."""

from __future__ import annotations

import math
import tempfile
from pathlib import Path
from typing import Annotated

import typer

from common.config import RunConfig
from common.errors import ConfigError, RunError
from common.logs import bare
from common.printable import printable_lines
from common.settings import Scalar, load, to_flat

SMALLEST = 64
"""Items of the catalogue that settings are tried on where the real one is at the server."""

CONTROL_WAIT_S = 30.0
Wait = Annotated[float, typer.Option("--wait", min=0, help="seconds to wait for the SuperLink; 0: for ever")]


def submit(
    config: Annotated[
        str | None, typer.Argument(help="settings as YAML, or the name of a shipped file: demo, ml-1m, …")
    ] = None,
    overrides: Annotated[
        list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="override a setting")
    ] = None,
    control: Annotated[
        str, typer.Option(metavar="HOST:PORT", help="Control API of the SuperLink")
    ] = "127.0.0.1:9093",
    roots: Annotated[Path | None, typer.Option("--root-certificates", help="the authority's ca.pem")] = None,
    insecure: Annotated[
        bool, typer.Option("--insecure", help="plain text, for tests on one machine")
    ] = False,
    out: Annotated[
        str, typer.Option("--out", help="the run's folder on the server; by default a new one in runs/")
    ] = "",
    resume: Annotated[bool, typer.Option("--resume", help="go on from the checkpoint in --out")] = False,
    detach: Annotated[bool, typer.Option("--detach", help="do not wait for the end of the run")] = False,
    wait: Wait = CONTROL_WAIT_S,
) -> None:
    """Send a run to a SuperLink, and show its log until it ends; paths of settings are the server's."""
    from experiments import shipped
    from experiments.deploy_cli import secured
    from experiments.deployed import stage
    from transport import runs
    from transport.address import parse
    from transport.control import control_stub

    parse("--control", control, "control")
    settings = load(None if config is None else shipped.config(config), overrides or [])
    check(settings)
    flat = run_config(settings, out, resume)
    connected = control_stub(control, secured(roots, insecure), wait or math.inf)
    with connected as stub, tempfile.TemporaryDirectory() as folder:
        number = runs.start(stub, stage(Path(folder) / "app"), flat)
        typer.echo(f"run {number}: results in {flat['out']} on the server")
        if detach:
            return
        try:
            runs.follow(stub, number, lambda line: typer.echo(printable_lines(bare(line))))
        except KeyboardInterrupt:
            ends = f"`flwr stop {number} CONNECTION` ends it, with a connection of ~/.flwr/config.toml"
            typer.echo(f"run {number} goes on at the server; {ends}", err=True)
            raise typer.Exit(130) from None
        found = runs.ending(stub, number)
    if found.how != "completed":
        raise RunError(f"run {number} {found.how}: {one_line(found.why)}")


def run_config(settings: RunConfig, out: str, resume: bool) -> dict[str, Scalar]:
    """Flower's run config. Raises ConfigError for ``resume`` without a folder to go on in."""
    from server.records.holding import chosen_folder

    if resume and not out:
        raise ConfigError("--resume needs --out, the folder on the server of the run to go on with")
    return {**to_flat(settings, secret=True), "out": chosen_folder(settings, out, resume), "resume": resume}


def check(settings: RunConfig) -> None:
    """Raise ConfigError for what the server would refuse only once the run has been handed in."""
    from client.regularisers import build_regularisers
    from emulation.federation import check_attack
    from server.round.pipeline import Pipeline

    if settings.omniscient:
        raise ConfigError("attack.knowledge: full is for `fedsieve run` alone: no node sees another's update")
    size = settings.train.slice_size
    Pipeline.build(settings, max(SMALLEST, settings.train.slices, size if isinstance(size, int) else 0))
    build_regularisers(settings.client.regularisers, settings.model)
    check_attack(settings)


def one_line(text: str) -> str:
    """The last line that says something: of an exception its message."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1] if lines else "the SuperLink says no reason"
