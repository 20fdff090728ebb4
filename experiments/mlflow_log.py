"""A run's settings and figures in MLflow, for those who keep their runs there (extra ``mlflow``)."""

from __future__ import annotations

import math
import os
import re
import time
from collections.abc import Callable, Mapping
from logging import getLogger
from types import TracebackType
from typing import Any

from common.config import RunConfig
from common.errors import ConfigError
from common.settings import to_flat
from server.records.report import Evaluation, RoundReport
from server.round.state import ServerState

EXPERIMENT = "fedsieve"
_LOG = getLogger("flwr")


class MlflowLog:
    """A listener that opens a run named ``name`` where ``MLFLOW_TRACKING_URI`` points.

    Raises ConfigError where mlflow is not installed or cannot be reached. What it does not take later is
    told once, and the run goes on without. A resumed run is a new run there.
    """

    def __init__(self, config: RunConfig, name: str) -> None:
        try:
            from mlflow import MlflowClient
            from mlflow.entities import Metric, Param
        except ImportError as error:
            raise ConfigError("--mlflow needs mlflow: pip install 'fedsieve[mlflow]'") from error
        self._metric: Any = Metric
        self._lost = False
        params = [Param(key, str(value)) for key, value in to_flat(config).items()]
        try:
            self._client: Any = MlflowClient()
            found = self._client.get_experiment_by_name(EXPERIMENT)
            place = found.experiment_id if found else self._client.create_experiment(EXPERIMENT)
            self.run_id: str = self._client.create_run(place, run_name=name).info.run_id
            self._client.log_batch(self.run_id, params=params)
        except Exception as error:  # its own, requests', the file system's
            raise ConfigError(f"--mlflow: {_place()}: {_first_line(error)}") from error

    def __enter__(self) -> MlflowLog:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._send(lambda: self._client.set_terminated(self.run_id, "FAILED" if kind else "FINISHED"))

    def on_round(self, report: RoundReport, state: ServerState) -> None:
        self._log("round", report.figures, report.round)

    def on_evaluation(self, evaluation: Evaluation) -> None:
        self._log(evaluation.split, {**evaluation.groups["all"], **evaluation.exposure}, evaluation.round)

    def _log(self, group: str, values: Mapping[str, float], step: int) -> None:
        now = int(1000 * time.time())
        metrics = [
            self._metric(f"{group}/{name.replace('@', '_at_')}", float(value), now, step)
            for name, value in values.items()
            if math.isfinite(value)
        ]
        self._send(lambda: self._client.log_batch(self.run_id, metrics=metrics))

    def _send(self, call: Callable[[], None]) -> None:
        """A server that is away costs its own lines and never the run."""
        if self._lost:  # each further call would wait for it again
            return
        try:
            call()
        except Exception as error:
            text = "mlflow: %s: %s; the run goes on, and nothing more is sent there"
            _LOG.warning(text, _place(), _first_line(error))
            self._lost = True


def _place() -> str:
    given = os.environ.get("MLFLOW_TRACKING_URI")
    return _without_password(given) if given else "MLFLOW_TRACKING_URI is not set, so ./mlruns"


def _first_line(error: Exception) -> str:
    return _without_password((str(error).strip().splitlines() or [type(error).__name__])[0])


def _without_password(text: str) -> str:
    return re.sub(r"(?<=://)[^/@\s]+@", "", text)
