"""Runs at a SuperLink's Control API: hand one in, follow its log, ask how it ended."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from flwr.app.user_config import UserConfigValue
from flwr.cli.build import build_fab_from_disk
from flwr.common.serde import fab_to_proto, user_config_to_proto
from flwr.proto.control_pb2 import ListRunsRequest, StartRunRequest, StreamLogsRequest
from flwr.proto.control_pb2_grpc import ControlStub
from flwr.supercore.fab import Fab
from grpc import RpcError, StatusCode  # type: ignore[import-untyped]

from common.errors import RunError
from common.logs import MARK
from transport.control import details_of

REFRESH_S, AGAIN_S = 60.0, 0.5
END_S = 30.0
"""How long a run whose log is over may take to have an end."""


@dataclass(frozen=True)
class Ending:
    """Of a run that is over: ``completed``, ``failed`` or ``stopped``, and why."""

    how: str
    why: str


def start(stub: ControlStub, app: Path, config: Mapping[str, UserConfigValue]) -> int:
    """Hand in the app folder with these settings; the run's number. Raises RunError where it is not taken."""
    content = build_fab_from_disk(app)
    fab = Fab(hashlib.sha256(content).hexdigest(), content, {})
    request = StartRunRequest(fab=fab_to_proto(fab), override_config=user_config_to_proto(dict(config)))
    try:
        answer = stub.StartRun(request)
    except RpcError as error:
        raise RunError(f"the SuperLink does not take the run: {details_of(error)}") from error
    if not answer.HasField("run_id"):
        raise RunError("the SuperLink does not take the run, and says no reason")
    return int(answer.run_id)


def follow(stub: ControlStub, run: int, show: Callable[[str], None]) -> None:
    """``show`` each line of the run's log but those of traces, until it is over. Raises RunError."""
    since, rest = 0.0, ""
    while True:
        try:
            request = StreamLogsRequest(run_id=run, after_timestamp=since)
            for part in stub.StreamLogs(request, timeout=REFRESH_S):
                since = max(since, float(part.latest_timestamp))
                *lines, rest = (rest + part.log_output).split("\n")
                for line in lines:
                    tell(line, show)
            tell(rest, show)
            return
        except RpcError as error:
            if error.code() != StatusCode.DEADLINE_EXCEEDED:
                raise RunError(f"the log of run {run} broke off: {details_of(error)}") from error
        time.sleep(AGAIN_S)


def tell(line: str, show: Callable[[str], None]) -> None:
    """``show`` a line unless it is empty or of a trace: those are for the server's own log."""
    if line.strip() and not line.startswith(MARK.rstrip("\n")):
        show(line)


def ending(stub: ControlStub, run: int, wait_s: float = END_S) -> Ending:
    """How a run ended. Raises RunError where it goes on, or is not known."""
    end = time.monotonic() + wait_s
    while True:
        try:
            found = stub.ListRuns(ListRunsRequest(run_id=run)).run_dict
        except RpcError as error:
            raise RunError(f"run {run}: {details_of(error)}") from error
        if run not in found:
            raise RunError(f"run {run} is not known to the SuperLink any more")
        status = found[run].status
        if status.status == "finished":
            return Ending(status.sub_status, status.details)
        if time.monotonic() >= end:
            raise RunError(f"run {run} has no end after its log was over; it is {status.status}")
        time.sleep(AGAIN_S)
