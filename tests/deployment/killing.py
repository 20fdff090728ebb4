"""The app's own ServerApp in a process that gets SIGKILL at one exact moment. Staged as an app's module.

``between``  rounds: round 4 is saved, round 5 has not begun
``during``   a round: the first reply of round 8 is there, the others are not
``writing``  the checkpoint of round 8: half of the file is on the disk
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

from flwr.app import Context, Message
from flwr.serverapp import Grid, ServerApp

import transport.exchange
from server.app import main
from server.records.outputs import RunFolder
from server.round.state import ServerState
from server.strategy import RobustStrategy

between = ServerApp()
during = ServerApp()
writing = ServerApp()


def die(context: Context, moment: str) -> NoReturn:
    """As ``kill -9`` does it; a file beside the run's folder tells the test."""
    Path(str(context.run_config["out"])).with_name(f"killed-{moment}").touch()
    os.kill(os.getpid(), signal.SIGKILL)
    raise AssertionError("still alive")


@between.main()
def _between(grid: Grid, context: Context) -> None:
    real = RunFolder.settled

    def settled(self: RunFolder, round_: int, last: bool, state: Callable[[], ServerState]) -> None:
        real(self, round_, last, state)
        if round_ == 4:
            die(context, "between")

    RunFolder.settled = settled  # type: ignore[method-assign]
    main(grid, context)


@during.main()
def _during(grid: Grid, context: Context) -> None:
    configure, accept = RobustStrategy.configure_train, transport.exchange._accept
    now = 0

    def configure_train(self: RobustStrategy, server_round: int, *rest: Any) -> list[Message]:
        nonlocal now
        now = server_round
        return configure(self, server_round, *rest)

    def accepted(*reply: Any) -> None:
        accept(*reply)
        if now == 8:
            die(context, "during")

    RobustStrategy.configure_train = configure_train  # type: ignore[method-assign]
    transport.exchange._accept = accepted
    main(grid, context)


@writing.main()
def _writing(grid: Grid, context: Context) -> None:
    checkpoint, fsync = RunFolder.checkpoint, os.fsync
    now = 0

    def torn(file: int) -> None:
        if now == 8:
            os.ftruncate(file, os.fstat(file).st_size // 2)
            die(context, "writing")
        fsync(file)

    def noted(self: RunFolder, state: ServerState) -> None:
        nonlocal now
        now = state.round
        checkpoint(self, state)

    RunFolder.checkpoint, os.fsync = noted, torn  # type: ignore[method-assign,assignment]
    main(grid, context)
