"""A whole federation in this process: an honest node, a malicious node, and the ServerApp's run."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from attacks import ATTACKS, build_attack
from client.disclosure import MAX_TARGETS
from client.fleet import Numbers, malicious_devices
from client.regularisers import build_regularisers
from common.config import RunConfig
from common.data import Dataset, content_digest, evaluable, load
from common.data.cut import cut_at, held_out, parts, quantiles, recurs
from common.errors import ConfigError, DataError
from common.registry import outside
from emulation.embedded import Embedded
from emulation.local_grid import LocalGrid
from emulation.targets import with_targets
from server.aggregators import build_aggregator
from server.app import serve
from server.records.own_ids import OwnIds
from server.records.report import Listener

NodeConfig = dict[str, bool | int | float | str]
EMULATION = "emulation"
"""`strategy.secret` of a run in one process, which has nobody to hide it from."""


def federate(
    config: RunConfig,
    out: Path,
    resume: bool = False,
    listeners: Sequence[Listener] = (),
    nodes: Sequence[NodeConfig] | None = None,
) -> dict[str, Any]:
    """Run ``config`` on LocalGrid and return the summary; ``nodes`` replaces the two sides of the draw."""
    dataset, config = prepared(config)
    app = Embedded(config.strategy.deadline_s, config.attack.knowledge == "full")
    nodes = node_configs(config) if nodes is None else nodes
    if trusts(config):
        nodes, config = with_trusted(nodes, config)
    grid = LocalGrid(app, nodes)
    data = content_digest(dataset)
    again = recurring(dataset)
    own = OwnIds.of(dataset)
    return serve(
        grid, repeatable(config), dataset.num_items, out, resume, listeners, grid, data, again, own=own
    )


def app_of(config: Mapping[str, object]) -> tuple[str, str]:
    """Module and name of the ClientApp for a node with this config."""
    return "attacks.app" if "attack" in config else "client.app", "app"


def repeatable(config: RunConfig) -> RunConfig:
    """``config`` with a secret that follows from its seed, unless it has one: emulations can be run again."""
    if config.strategy.secret:
        return config
    strategy = config.strategy.model_copy(update={"secret": EMULATION})
    return config.model_copy(update={"strategy": strategy})


def prepared(config: RunConfig) -> tuple[Dataset, RunConfig]:
    """The log and the config with its targets, once all that only a node would notice has been tried."""
    dataset = open_log(config)
    config = with_targets(config, dataset)
    build_regularisers(config.client.regularisers, config.model)
    check_attack(config)
    return dataset, config


def open_log(config: RunConfig) -> Dataset:
    """The log that a run reads, with the devices and histories that the config leaves.

    Raises DataError, also where no history is long enough for an evaluation.
    """
    data = config.data
    whole = load(data.name, data.path, devices=data.max_devices, prepare=data.preparation)
    log = evaluable(whole, data.max_length)
    if config.eval.split == "leave_one_out":
        return log
    log = cut_at(log, config.eval.moments or quantiles(log, *config.eval.quantiles))
    if not (parts(log).test >= 0).any():
        raise DataError(
            log.source or log.name,
            "eval.times: no device has an interaction before and after the second time",
        )
    return log


def recurring(dataset: Dataset) -> dict[str, float]:
    """Share of the answers of each split that are in the history before them."""
    splits = {split: held_out(dataset.sequences, split, parts(dataset)) for split in ("valid", "test")}
    return {split: float(recurs(*held).mean()) if len(held[1]) else 0.0 for split, held in splits.items()}


def check_attack(config: RunConfig) -> None:
    """Raises UnknownName or ConfigError for an attack that no node could run."""
    attack = config.attack
    build_attack("control" if attack.name == "none" else attack.name, attack.params)
    honest = attack.name in ("none", "control")  # the clean run beside an attacked one
    if config.model.code_books and not honest and ATTACKS.find(attack.name).owned:
        raise ConfigError(
            f"attack.name: {attack.name!r} turns the rows of single items, and with model.code_books items "
            "share theirs"
        )
    if attack.knowledge == "full" and not honest and not ATTACKS.find(attack.name).full:
        able = ", ".join(name for name, rule in ATTACKS.items() if rule.full)
        raise ConfigError(
            f"attack.knowledge: {attack.name!r} has no use for honest updates; 'full' is for {able}"
        )


def node_configs(config: RunConfig) -> list[NodeConfig]:
    """One node with every device, or an honest and a malicious one."""
    attack = config.attack
    base: NodeConfig = {
        "data": config.data.name,
        "path": config.data.path,
        "max_devices": config.data.max_devices,
        "max_length": config.data.max_length,
        "repeatable": True,
        "seed": config.seed,
        **({"prepare": rules} if (rules := config.data.preparation.text()) else {}),
        **open_book(config),
    }
    if attack.name == "none" or attack.share == 0:
        return [{**base, "part": "all"}]
    base |= {"share": attack.share}
    evil = {**attack_keys(config), "knowledge": attack.knowledge}
    return [{**base, "part": "honest"}, {**base, "part": "malicious", **evil}]


def open_book(config: RunConfig) -> NodeConfig:
    """Nodes of one process, or of one owner, tell all that is asked: there is nobody to hide from."""
    return {**measured(config), "min_group": 1, "device": config.device}


def measured(config: RunConfig) -> NodeConfig:
    """The targets that nodes may tell the exposure of, and the item of the group, as ``#number``.

    Raises ConfigError for more than a node allows.
    """
    group = config.eval.group
    targets = tuple(dict.fromkeys((*config.eval.targets, group) if group else config.eval.targets))
    if len(targets) > MAX_TARGETS:
        asked = f"{len(config.eval.targets)} items" + (f" and eval.group {group}" if group else "")
        raise ConfigError(f"eval.targets: {asked}; nodes tell the exposure of up to {MAX_TARGETS}")
    told: NodeConfig = {"exposure_targets": ",".join(targets), **brought(config)}
    told |= split_key(config)
    return told if config.train.negatives != "device" else told | {"negatives": "device"}


def split_key(config: RunConfig) -> NodeConfig:
    """The two times of ``eval.split: time``, which each node has to know."""
    return {"cut_times": ",".join(map(repr, cuts))} if (cuts := config.eval.moments) else {}


def brought(config: RunConfig) -> NodeConfig:
    """Leave for the code from outside that this run's nodes need: who starts them all may give it."""
    names = outside([config.model.name, *(term.name for term in config.client.regularisers)])
    return {"components": ",".join(names)} if names else {}


def trusts(config: RunConfig) -> bool:
    """Whether the rule of ``config`` measures devices against a trusted node."""
    return build_aggregator(config.strategy.aggregator).rooted


def as_run(config: RunConfig) -> RunConfig:
    """``config`` as :func:`federate` writes it down: with its trusted node named, if it has one."""
    return with_trusted(node_configs(config), config)[1] if trusts(config) else config


def with_trusted(nodes: Sequence[NodeConfig], config: RunConfig) -> tuple[list[NodeConfig], RunConfig]:
    """One node more, of the operator: it holds copies of ``data.public`` honest histories.

    The devices themselves take part as without it, so that runs with and without it compare. Raises
    ConfigError when ``strategy.trusted_nodes`` names others: node ids of an emulation are its own.
    """
    number = (len(nodes) + 1,)
    if config.strategy.trusted_nodes not in ((), number):
        raise ConfigError("strategy.trusted_nodes: an emulation has its own trusted node; leave it out")
    keys = ("data", "path", "max_devices", "max_length", "prepare", "share", "repeatable", "seed")
    public: NodeConfig = {
        key: nodes[0][key] for key in (*keys, "components", "device", "cut_times") if key in nodes[0]
    }
    public |= {"part": "public", "public": config.data.public}
    strategy = config.strategy.model_copy(update={"trusted_nodes": number})
    return [*nodes, public], config.model_copy(update={"strategy": strategy})


def attack_keys(config: RunConfig) -> NodeConfig:
    """What makes a node malicious, as its node config says it. Raises UnknownName or ConfigError."""
    check_attack(config)  # told here, not by a node in every round
    attack = config.attack
    if isinstance(attack.targets, str):
        raise ConfigError(f"attack.targets: {attack.targets!r} is not resolved to items")
    return {
        **brought(config),
        **split_key(config),
        "attack": attack.name,
        "seed": config.seed,
        "targets": ",".join(attack.targets),
        "start_round": attack.start_round,
        "period": attack.period,
        "active": attack.active,
        "rest": attack.rest,
        "params": json.dumps(attack.params),
    }


def malicious_numbers(config: RunConfig, dataset: Dataset) -> frozenset[int]:
    """Device numbers of the malicious devices of an emulation: the truth that the server lacks."""
    return frozenset(dataset.devices[sides(config, dataset)[1]].tolist())


def sides(config: RunConfig, dataset: Dataset) -> tuple[Numbers, Numbers]:
    """Places in the log of the honest and of the malicious devices of an emulation, ascending."""
    kept = np.arange(min(len(dataset), config.data.max_devices or len(dataset)))
    if config.attack.name == "none":
        return kept, kept[:0]
    bad = malicious_devices(len(kept), config.attack.share, config.seed)
    return np.delete(kept, bad), bad
