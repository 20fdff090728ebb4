"""The files of a run: metrics, audit, TensorBoard events, checkpoints, model, summary."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml
from safetensors.torch import save
from torch.utils.tensorboard import SummaryWriter

from common.config import RunConfig
from common.errors import CheckpointError, RunError
from common.settings import to_tree
from server.checkpoint import load_state, save_state, write_atomically
from server.report import Evaluation, RoundReport
from server.state import ServerState

LINES = ("metrics.jsonl", "audit.jsonl")
TOTALS = ("bytes_up", "bytes_down", "seconds", "admitted")


class RunFolder:
    """A listener that writes ``folder``; after :meth:`resume` it goes on where the checkpoint stands."""

    def __init__(self, folder: Path, config: RunConfig) -> None:
        self.folder, self.config = folder, config
        self.totals: dict[str, float] = dict.fromkeys(TOTALS, 0.0)
        self.evaluations: dict[str, Evaluation] = {}
        self._files = {name: folder / name for name in LINES}
        self._events: SummaryWriter | None = None

    def create(self) -> None:
        """Begin a new run. Raises RunError if the folder already holds one."""
        if (self.folder / "config.yaml").exists():
            raise RunError(
                f"{self.folder} already holds a run; continue it with --resume or choose another --out"
            )
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise RunError(f"--out {self.folder}: {error.strerror}") from error
        self.restart()

    def restart(self) -> None:
        """Begin at round 1, over what a run that never reached a checkpoint left behind."""
        text = yaml.safe_dump(to_tree(self.config), sort_keys=False)
        write_atomically(self.folder / "config.yaml", text.encode())
        for path in self._files.values():
            path.write_bytes(b"")
        self._events = SummaryWriter(str(self.folder / "events"))

    def resume(self) -> ServerState:
        """The checkpointed state; lines written after it are cut off. Raises CheckpointError."""
        state, extra = load_state(self.folder / "state", self.config)
        self.totals = {name: float(extra["totals"][name]) for name in TOTALS}
        for name, path in self._files.items():
            size = int(extra["sizes"][name])
            if not path.exists() or path.stat().st_size < size:
                raise CheckpointError(f"{path} is shorter than the checkpoint says: it was changed")
            with path.open("r+b") as file:
                file.truncate(size)
        self._events = SummaryWriter(str(self.folder / "events"), purge_step=state.round + 1)
        return state

    def on_round(self, report: RoundReport, state: ServerState) -> None:
        for name in TOTALS:
            self.totals[name] += report.figures.get(name, 0.0)
        self._append("audit.jsonl", report.audit)
        line = {"round": report.round, "skipped": report.skipped, **report.figures}
        self._append("metrics.jsonl", [line])
        self._scalars("round", report.figures, report.round)
        if report.round % self.config.checkpoint_every == 0 and report.round < self.config.train.rounds:
            self.checkpoint(state)

    def on_evaluation(self, evaluation: Evaluation) -> None:
        self.evaluations[evaluation.split] = evaluation
        found = {**evaluation.groups["all"], **evaluation.exposure}
        self._append("metrics.jsonl", [{"round": evaluation.round, "split": evaluation.split, **found}])
        self._scalars(evaluation.split, found, evaluation.round)

    def checkpoint(self, state: ServerState) -> None:
        """Save the state, with how long the line files were at that moment."""
        sizes = {name: path.stat().st_size for name, path in self._files.items()}
        save_state(self.folder / "state", self.config, state, {"totals": self.totals, "sizes": sizes})

    def finish(self, state: ServerState, facts: Mapping[str, Any]) -> dict[str, Any]:
        """Write the model, the last state and ``summary.json``; returns the summary."""
        self.checkpoint(state)
        tensors = {"encoder": state.model.encoder.contiguous(), "item_table": state.model.table.contiguous()}
        meta = {"config": json.dumps(to_tree(self.config))}
        write_atomically(self.folder / "model.safetensors", save(tensors, metadata=meta))
        summary = {**facts, **self._results()}
        write_atomically(self.folder / "summary.json", json.dumps(summary, indent=2).encode())
        if self._events is not None:
            self._events.close()
        return summary

    def _results(self) -> dict[str, Any]:
        results: dict[str, Any] = {}
        for split, evaluation in self.evaluations.items():
            results[split] = evaluation.groups["all"]
        if (last := self.evaluations.get("test")) is not None:
            results |= last.exposure
            results["quartiles"] = {g: m for g, m in last.groups.items() if g != "all"}
            results["evaluated_devices"] = last.devices
        return results

    def _append(self, name: str, lines: Any) -> None:
        if lines:
            with self._files[name].open("a", encoding="utf-8") as file:
                file.writelines(json.dumps(line) + "\n" for line in lines)

    def _scalars(self, group: str, values: Mapping[str, float], step: int) -> None:
        if self._events is not None:
            for name, value in values.items():
                self._events.add_scalar(f"{group}/{name.replace('@', '_at_')}", value, step)


def discard(folder: Path) -> None:
    """Remove an earlier run in ``folder``, and nothing that is not a run."""
    if (folder / "config.yaml").exists():
        shutil.rmtree(folder)
