"""The files of a run: metrics, audit, TensorBoard events, checkpoints, model, summary."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, Protocol

import yaml
from filelock import BaseFileLock
from safetensors.torch import save

from common.config import RunConfig
from common.errors import CheckpointError, RunError
from common.settings import load, to_tree
from server.records.begun import GRID, LINES, MODEL, RECIPE, in_vain
from server.records.checkpoint import (
    FILE,
    check_settings,
    leftovers,
    load_state,
    save_state,
    write_atomically,
    writing,
)
from server.records.evaluated import beside_means, check_evaluated, check_trained, results
from server.records.events import Events
from server.records.extension import Extension
from server.records.holding import hold
from server.records.own_ids import OwnIds
from server.records.participation import count_again, stopped_clean
from server.records.report import Evaluation, RoundReport
from server.records.stopping import Stop
from server.round.state import ServerState
from server.round.verdicts import AuditLines

TOTALS = ("bytes_up", "bytes_down", "seconds", "asked", "admitted", "idle", "seconds_evaluation")


class NodeMemory(Protocol):
    """Nodes that keep something from round to round, in this process."""

    def memory(self) -> Mapping[int, bytes]:
        """What each keeps."""

    def remember(self, memory: Mapping[int, bytes]) -> None:
        """Give them what :meth:`memory` returned. Raises ValueError for other bytes."""


class RunFolder:
    """A listener that writes ``folder``; after :meth:`resume` it goes on where the checkpoint stands.

    nodes: those of this process, whose memory (attacks keep some) belongs to the checkpoint.
    data: the digest of the log, or of the catalogue (:mod:`common.data.digest`). own: what the log calls its
    items and users.
    """

    def __init__(
        self,
        folder: Path,
        config: RunConfig,
        nodes: NodeMemory | None = None,
        data: str = "",
        own: OwnIds | None = None,
    ) -> None:
        self.folder, self.config, self.nodes, self.data = folder, config, nodes, data
        self.own = own or OwnIds()
        self.totals: dict[str, float] = dict.fromkeys(TOTALS, 0.0)
        self.evaluations: dict[str, Evaluation] = {}
        self.stop = Stop()
        self.extended: list[Extension] = []
        self._files = {name: folder / name for name in LINES}
        self._events: Events | None = None
        self._lock: BaseFileLock | None = None
        self._before, self._began = 0.0, time.perf_counter()

    def hold(self) -> None:
        """Make the folder and keep others from writing it until :meth:`close`. Raises RunError.

        What killed writes of model and checkpoint left is removed: nobody else writes those now.
        """
        self._lock = hold(self.folder)
        for path in (self.folder / MODEL, self.folder / "state" / FILE):
            with writing(path):
                for part in leftovers(path):
                    part.unlink()

    def create(self) -> None:
        """Begin a new run. Raises RunError if the folder already holds one that ended a round."""
        if (self.folder / GRID).exists():
            raise RunError(f"{self.folder} holds a comparison; choose another folder (--out; out=)")
        if in_vain(self.folder):
            for name in ("config.yaml", RECIPE):
                (self.folder / name).unlink(missing_ok=True)
            self.restart()
            return
        self._federated()
        if any((self.folder / name).exists() for name in ("config.yaml", f"state/{FILE}", *LINES)):
            raise RunError(
                f"{self.folder} already holds a run; go on with it (--resume; in a run config resume=true) "
                "or choose another folder (--out; out=)"
            )
        self.restart()

    def restart(self) -> None:
        """Begin at round 1, over what a run that never reached a checkpoint left behind.

        Raises CheckpointError if that was a run with other settings, RunError if it reached its end.
        """
        if (self.folder / "summary.json").exists():
            raise RunError(f"{self.folder} holds a run that is over; choose another folder (--out; out=)")
        self._federated()
        path = self.folder / "config.yaml"
        if path.exists():  # nothing is learned yet, so that even other data would do no harm
            check_settings(path, load(path), self.config)
        write_atomically(path, self._described())
        if self._files["audit.jsonl"].exists():  # it had begun, and devices send all of it once more
            count_again(self.folder, 0)
        for path in self._files.values():
            with writing(path):
                path.write_bytes(b"")
        self._events = Events(self.folder / "events", 1)

    def resume(self) -> ServerState:
        """The checkpointed state; lines written after it are cut off. Raises CheckpointError."""
        state, extra = load_state(self.folder / "state", self.config, self.data)
        try:
            self.totals = {name: float(extra["totals"].get(name, 0.0)) for name in TOTALS}
            self.evaluations = {e["split"]: Evaluation(**e) for e in extra["evaluations"]}
            self._before = float(extra["elapsed"])
            before = int(extra.get("rounds", 0))
            self.extended = [Extension(**one) for one in extra.get("extended", [])]
            sizes = {name: int(extra["sizes"][name]) for name in LINES}
            if self.nodes is not None:
                self.nodes.remember(extra["memory"])
        except (KeyError, TypeError, ValueError) as error:
            raise CheckpointError(f"{self.folder / 'state'} is damaged: {error!r}") from error
        for name, path in self._files.items():
            size = sizes[name]
            if not path.exists() or path.stat().st_size < size:
                raise CheckpointError(f"{path} is shorter than the checkpoint says: it was changed")
        count_again(self.folder, sizes["audit.jsonl"])
        for name, path in self._files.items():
            with writing(path), path.open("r+b") as file:
                file.truncate(sizes[name])
        described = self.folder / "config.yaml"
        if not described.exists() or described.read_bytes() != self._described():
            write_atomically(described, self._described())
        if before and self.config.train.rounds > before:
            self.extended.append(Extension(state.round, before, self.config.train.rounds))
        self._events = Events(self.folder / "events", state.round + 1)
        return state

    def _federated(self) -> None:
        """Raise RunError where a centralised run was: it begins anew, in another folder."""
        if (self.folder / RECIPE).exists():
            raise RunError(f"{self.folder} holds a centralised run; choose another folder (--out; out=)")

    def _described(self) -> bytes:
        """``config.yaml``: where the data lie now, how long this part of the run waits, and all else."""
        return yaml.safe_dump(to_tree(self.config), sort_keys=False).encode()

    def on_round(self, report: RoundReport, state: ServerState) -> None:
        for name in TOTALS:
            self.totals[name] += report.figures.get(name, 0.0)
        self.audit(report.audit)
        why = {"why": report.why} if report.skipped else {}
        line = {"round": report.round, "skipped": report.skipped, **why, **report.figures}
        self._append("metrics.jsonl", [line])
        self._scalars("round", report.figures, report.round)

    def settled(self, round_: int, last: bool, state: Callable[[], ServerState]) -> None:
        """Save every ``checkpoint_every`` rounds, after the last, and before the end that somebody asked for.

        The round's lines are all there then. Raises KeyboardInterrupt for such an end.
        """
        every, rounds = self.config.checkpoint_every, self.config.train.rounds
        if (every and round_ % every == 0) or last or self.stop.asked:
            self.checkpoint(state())
        if self.stop.asked:
            stopped_clean(self.folder)
            self.stop.end(round_, rounds, self.folder)

    def audit(self, lines: Sequence[Mapping[str, Any]]) -> None:
        """What became of replies: of devices in a round, or of nodes in an evaluation."""
        self._append("audit.jsonl", lines)

    def on_evaluation(self, evaluation: Evaluation) -> None:
        self.evaluations[evaluation.split] = evaluation
        self.totals["seconds_evaluation"] += evaluation.seconds
        found = {**evaluation.groups["all"], **evaluation.exposure}
        line = {"round": evaluation.round, "split": evaluation.split, "seconds": evaluation.seconds, **found}
        again = {"recurring": round(evaluation.recurring, 4)} if evaluation.recurring else {}
        self._append("metrics.jsonl", [line | again | beside_means(evaluation)])
        self._scalars(evaluation.split, found, evaluation.round)

    def checkpoint(self, state: ServerState) -> None:
        """Save the state, with how long the line files were at that moment."""
        extra = {
            "totals": self.totals,
            "sizes": {name: path.stat().st_size for name, path in self._files.items()},
            "evaluations": [asdict(e) for e in self.evaluations.values()],
            "elapsed": self.elapsed(),
            "rounds": self.config.train.rounds,
            "extended": [asdict(one) for one in self.extended],
        }
        memory = self.nodes.memory() if self.nodes is not None else {}
        save_state(self.folder / "state", self.config, state, extra, memory, self.data)

    def elapsed(self) -> float:
        """Seconds this run has taken, those before an interruption included up to the checkpoint."""
        return self._before + time.perf_counter() - self._began

    def recurring(self) -> dict[str, float]:
        """Share of the answers of each split that are in the history before them, as nodes have said."""
        return {split: round(evaluation.recurring, 4) for split, evaluation in self.evaluations.items()}

    def check(self) -> None:
        """Raise RunError for numbers that would mean nothing: nobody trained, or nobody was evaluated."""
        check_trained(self._files["metrics.jsonl"])
        check_evaluated(self.evaluations, self._files["audit.jsonl"])

    def finish(self, state: ServerState, facts: Mapping[str, Any]) -> dict[str, Any]:
        """Write the model and ``summary.json``; returns the summary."""
        tensors = {"encoder": state.model.encoder.contiguous(), "item_table": state.model.table.contiguous()}
        meta = {"config": json.dumps(to_tree(self.config)), "num_items": str(state.model.num_items)}
        write_atomically(self.folder / MODEL, save(tensors, metadata=meta))
        known = {"data_digest": self.data} if self.data else {}
        summary = {**facts, **known, **results(self.evaluations, self.own)}
        write_atomically(self.folder / "summary.json", json.dumps(summary, indent=2).encode())
        return summary

    def close(self) -> None:
        """End the TensorBoard writer and let go of the folder, also when the run fails."""
        if self._events is not None:
            self._events.close()
        if self._lock is not None:
            self._lock.release()
            self._lock = None

    def _append(self, name: str, lines: Any) -> None:
        if not lines:
            return
        text = (
            lines.text(self.own.user)
            if isinstance(lines, AuditLines)
            else "".join(json.dumps(x) + "\n" for x in lines)
        )
        with writing(self._files[name]), self._files[name].open("a", encoding="utf-8") as file:
            file.write(text)

    def _scalars(self, group: str, values: Mapping[str, float], step: int) -> None:
        if self._events is not None:
            self._events.scalars(group, values, step)
