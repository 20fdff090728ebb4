"""A federation small enough for a test: a made-up log, a tiny model, nodes in this process."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from flwr.app import Context, Message
from safetensors.torch import load_file

from attacks.app import app as client_app
from common.config import RunConfig
from common.settings import load
from emulation.local_grid import LocalGrid
from server.app import serve
from server.records.report import Evaluation, Listener, RoundReport
from server.round.state import ServerState
from transport.messages import App

LOG = "devices=40,items=30,length=8"
ITEMS, DEVICES = 30, 40
BASE = (
    "strategy.aggregator=mean",
    "data.name=synthetic",
    f"data.path='{LOG}'",
    "model.dim=4",
    "model.max_len=8",
    "model.blocks=1",
    "train.rounds=4",
    "train.devices_per_round=16",
    "train.slice_size=20",
    "eval.every=2",
    "eval.targets=['#3', '#7']",
    "checkpoint_every=2",
    "wire.dtype=float32",
    "strategy.deadline_s=20",
    "strategy.optimizer=block_adam",
    "strategy.lr=4e-3",
    "strategy.secret=a",
)
NodeConfig = dict[str, bool | int | float | str]


def config(*overrides: str) -> RunConfig:
    """The tiny run with ``KEY=VALUE`` changes."""
    return load(overrides=[*BASE, *overrides])


def node(part: str = "all", **more: bool | int | float | str) -> NodeConfig:
    """A node that tells all that the tiny run asks for."""
    told = {"exposure_targets": "3,7", "min_group": 1, "negatives": "slice,full,device", "repeatable": True}
    return {"data": "synthetic", "path": LOG, "part": part, **told, **more}


def run(
    settings: RunConfig,
    out: Path,
    nodes: Sequence[NodeConfig] | None = None,
    *,
    app: App = client_app,
    grid: LocalGrid | None = None,
    resume: bool = False,
    listeners: Sequence[Listener] = (),
) -> dict[str, Any]:
    """The summary of a run on LocalGrid; its files lie in ``out``."""
    grid = grid or LocalGrid(app, [node()] if nodes is None else nodes)
    return serve(grid, settings, ITEMS, out, resume, listeners)


def model(out: Path) -> dict[str, torch.Tensor]:
    return load_file(out / "model.safetensors")


def same_model(one: Path, other: Path) -> bool:
    """Bit for bit."""
    left, right = model(one), model(other)
    return all(torch.equal(left[name], right[name]) for name in ("encoder", "item_table"))


def lines(out: Path, name: str) -> list[dict[str, Any]]:
    """Of the audit, those about training; :func:`evaluated` has the others."""
    found = [json.loads(line) for line in (out / f"{name}.jsonl").read_text().splitlines()]
    return [line for line in found if "evaluation" not in line]


def evaluated(out: Path) -> list[dict[str, Any]]:
    """What the audit says of replies to evaluations."""
    found = [json.loads(line) for line in (out / "audit.jsonl").read_text().splitlines()]
    return [line for line in found if "evaluation" in line]


def timeless(found: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Lines without the figures that a clock gave."""
    return [{k: v for k, v in line.items() if not k.startswith("seconds")} for line in found]


def refusals(out: Path, node_: int | None = None) -> set[tuple[int, str]]:
    """(round, reason) of what was refused, of one node or of all."""
    return {
        (line["round"], line["reason"])
        for line in lines(out, "audit")
        if line["verdict"] == "refused" and line["reason"] != "idle" and node_ in (None, line["node"])
    }


class Watch:
    """A listener that keeps everything, and can fail on purpose."""

    def __init__(self, fail: Callable[[RoundReport | Evaluation], bool] = lambda _: False) -> None:
        self.rounds: list[RoundReport] = []
        self.evaluations: list[Evaluation] = []
        self.states: list[ServerState] = []
        self.fail = fail

    def on_round(self, report: RoundReport, state: ServerState) -> None:
        self.rounds.append(report)
        self.states.append(state)
        if self.fail(report):
            raise InterruptedError("pulled the plug")

    def on_evaluation(self, evaluation: Evaluation) -> None:
        self.evaluations.append(evaluation)
        if self.fail(evaluation):
            raise InterruptedError("pulled the plug")


def without(context: Context, *keys: str) -> Context:
    """The node's context with some keys of its config hidden from the real ClientApp."""
    kept = {k: v for k, v in context.node_config.items() if k not in keys}
    return Context(context.run_id, context.node_id, kept, context.state, context.run_config)


def faulty(fault: Callable[[Message, Message], Message]) -> App:
    """The ClientApp; on nodes with ``bad`` in their config ``fault(task, honest reply)`` answers training."""

    def app(message: Message, context: Context) -> Message:
        bad = bool(context.node_config.get("bad", False))
        reply = client_app(message, without(context, "bad"))
        return fault(message, reply) if bad and message.metadata.message_type == "train" else reply

    return app
