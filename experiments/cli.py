"""``fedsieve``: run, compare, report, leaderboard, recommend, export, data, list, demo."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Annotated, Any, TextIO, cast

import typer
from rich.console import Console

from common.errors import FedSieveError
from common.logs import coloured_on_terminals_alone, plain_logs
from common.printable import printable_lines
from experiments.data_cli import app as data_app
from experiments.deploy_cli import register as register_deployment
from experiments.ending import Unbroken, ended_as_by_hand
from experiments.leaderboard_cli import leaderboard
from experiments.lookup_cli import check, list_
from experiments.results_cli import compare, export, recommend, report
from experiments.usage import is_usage, told, with_help, without_empty_paths
from experiments.versions import version

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)

NAME, INTERRUPTED = "fedsieve", 130
Overrides = Annotated[list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="override a setting")]
Out = Annotated[Path | None, typer.Option("--out", help="folder of the run's files")]
Device = Annotated[str, typer.Option("--device", help="auto, cpu, cuda or cuda:N; else as the settings say")]


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(version())
        raise typer.Exit


@app.callback()
def callback(
    _: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="say what is installed")
    ] = False,
) -> None:
    """Robust federated sequential recommendation on Flower."""


@app.command()
def run(
    config: Annotated[
        str | None, typer.Argument(help="settings as YAML, or the name of a shipped file: demo, ml-1m, …")
    ] = None,
    overrides: Overrides = None,
    out: Out = None,
    resume: Annotated[bool, typer.Option("--resume", help="go on from the checkpoint in --out")] = False,
    engine: Annotated[str, typer.Option(help="local: this process; ray: Flower's simulation")] = "local",
    nodes: Annotated[int, typer.Option("--nodes", min=0, help="with ray: honest nodes; 0: one a core")] = 0,
    gpus: Annotated[
        float, typer.Option("--gpus-per-node", min=0, help="with ray: GPUs that a worker holds; a share or 1")
    ] = 0.0,
    device: Device = "",
    mlflow: Annotated[bool, typer.Option("--mlflow", help="also log to MLFLOW_TRACKING_URI")] = False,
    centralised: Annotated[
        bool, typer.Option("--centralised", help="no federation: one program with all histories, by Adam")
    ] = False,
    epochs: Annotated[int | None, typer.Option(min=1, help="centralised: at most so many; else 200")] = None,
    patience: Annotated[
        int | None, typer.Option(min=1, help="centralised: epochs without a better validation; else 10")
    ] = None,
    batch: Annotated[int | None, typer.Option(min=1, help="centralised: users in a step; else 128")] = None,
    rate: Annotated[float | None, typer.Option(min=1e-9, help="centralised: of Adam; else 0.001")] = None,
    decay_from: Annotated[
        float | None,
        typer.Option(min=0, max=1, help="centralised: share of --epochs after which the rate falls; else 1"),
    ] = None,
) -> None:
    """Train and evaluate one federation on this machine, or its centralised reference."""
    from common.errors import ConfigError, RunError
    from common.extras import install
    from common.settings import load
    from experiments import shipped
    from experiments.centralised import CENTRALISED, Recipe, centralise
    from experiments.engines import emulate, reported
    from experiments.mlflow_log import MlflowLog
    from experiments.progress import Bar
    from experiments.run_files import printed, times
    from server.records.holding import folder_name, fresh

    if engine not in ("local", "ray"):
        raise ConfigError(f"--engine {engine!r}; valid: local, ray")
    for option, given in (("--nodes", nodes), ("--gpus-per-node", gpus)):
        if given and engine != "ray":
            raise ConfigError(f"{option} is for --engine ray")
    options: dict[str, Any] = {
        **{"epochs": epochs, "patience": patience, "batch": batch},
        **{"rate": rate, "decay_from": decay_from},
    }
    chosen = {option: value for option, value in options.items() if value is not None}
    if chosen and not centralised:
        raise ConfigError(f"--{next(iter(chosen)).replace('_', '-')} is for --centralised")
    for option in (o for o, value in {"engine ray": engine == "ray", "resume": resume}.items() if value):
        if centralised:
            raise ConfigError(f"--{option} is for a federation, not for --centralised")
    if resume and out is None:
        raise RunError("--resume needs --out, the folder of the run to go on with")
    if resume and config is None and out is not None:
        config = str(out / "config.yaml")
        if not Path(config).exists():
            raise RunError(f"nothing to resume: {config} does not exist")
    settings = load(None if config is None else shipped.config(config), _with_device(overrides, device))
    recipe = Recipe(**chosen)
    title = CENTRALISED if centralised else settings.strategy.aggregator.name
    folder = out or fresh(Path("runs"), folder_name(settings, title))
    console = Console()
    logging.getLogger("flwr").setLevel(logging.WARNING)
    coloured_on_terminals_alone()
    with ExitStack() as stack:
        log = [stack.enter_context(MlflowLog(settings, folder.name))] if mlflow else []
        steps, unit = (recipe.epochs, "epoch") if centralised else (settings.train.rounds, "round")
        every = 1 if centralised else settings.eval.every
        bar = stack.enter_context(Bar(title, steps, console, unit, every))
        if centralised:
            summary = reported(centralise)(settings, folder, recipe, [bar, *log])
        elif engine == "ray":
            from emulation.simulation import simulate

            summary = reported(simulate)(settings, folder, resume, [bar, *log], nodes, gpus)
        else:
            summary = emulate(settings, folder, resume, [bar, *log])
    console.print(printed(summary))
    console.print(times(summary), highlight=False)
    page = "report.html, " if (folder / "report.html").exists() else ""
    files = f"{page}summary.json, metrics.jsonl, audit.jsonl, model.safetensors"
    console.print(f"Results in {folder}/ ({files})", markup=False)
    if not page:
        console.print(f"For report.html: {install('report')}", markup=False)


@app.command()
def demo(out: Out = None, overrides: Overrides = None, device: Device = "") -> None:
    """The plain mean against the robust strategy on ML-100K while 20 % of the devices promote an item."""
    from experiments.demo import show
    from server.records.holding import fresh

    show(out or fresh(Path("runs"), "demo"), _with_device(overrides, device))


@app.command("grpc-demo")
def grpc_demo(
    nodes: Annotated[int, typer.Option("--nodes", min=1, help="honest nodes")] = 3,
    malicious: Annotated[int, typer.Option("--malicious", min=0, help="malicious nodes")] = 1,
    stock: Annotated[
        bool, typer.Option("--stock", help="Flower's own node program: slow, and shorter")
    ] = False,
    out: Out = None,
    overrides: Overrides = None,
    device: Device = "",
) -> None:
    """A run over real gRPC on this machine: a SuperLink and every node in a process of its own."""
    from experiments.grpc_demo import show
    from server.records.holding import fresh

    show(out or fresh(Path("runs"), "grpc-demo"), nodes, malicious, stock, _with_device(overrides, device))


app.command()(compare)
app.command()(report)
app.command()(leaderboard)
app.command()(recommend)
app.command()(export)
app.command("list")(list_)
app.command()(check)
register_deployment(app)
app.add_typer(data_app, name="data")


def _with_device(overrides: list[str] | None, device: str) -> list[str]:
    """The overrides, and the device where one is given; one that is not there is refused now."""
    from common.device import resolve

    if device:
        resolve(device, "--device")
    return [*(overrides or []), *([f"device={device}"] if device else [])]


def call(arguments: Sequence[str] | None = None) -> int:
    """Run a command line (by default this process's own) and return its exit status.

    An error on purpose, and a wrong command line, is one line on stderr and status 2.
    """
    try:
        given = None if arguments is None else list(arguments)
        command = without_empty_paths(with_help(typer.main.get_command(app)))
        with ended_as_by_hand():
            status = command.main(given, NAME, standalone_mode=False)
    except FedSieveError as error:
        return _failed(printable_lines(error))
    except KeyboardInterrupt:
        status = INTERRUPTED
    except OSError as error:  # a folder that may not be entered, a name that is too long
        if error.filename is None:
            raise
        return _failed(printable_lines(f"{error.filename}: {error.strerror or error}"))
    except Exception as error:
        if not is_usage(error):
            raise
        usage: Any = error
        if type(error).__name__ == "NoArgsIsHelpError":
            usage.show()
            return 2
        return _failed(printable_lines(told(error, sys.argv[1:] if given is None else given)))
    if status == INTERRUPTED:
        print("fedsieve: interrupted", file=sys.stderr)
    return status if isinstance(status, int) else 0


def _failed(text: str) -> int:
    print(f"fedsieve: {text}", file=sys.stderr)
    return 2


def main() -> None:
    """Entry point."""
    os.environ.setdefault("FLWR_TELEMETRY_ENABLED", "0")
    os.environ["PYTHONSAFEPATH"] = "1"  # no child takes a file of the working folder for a module
    plain_logs()
    sys.stdout = cast(TextIO, Unbroken(sys.stdout))
    sys.exit(call())


if __name__ == "__main__":
    main()
