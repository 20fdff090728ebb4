"""A log divided over the nodes of a simulation: honest devices over many, malicious ones on one or more."""

from __future__ import annotations

from pathlib import Path

from common.config import RunConfig
from common.data import Dataset, recent, write_shards
from common.data.cut import only
from common.errors import ConfigError
from emulation.federation import NodeConfig, attack_keys, open_book, sides


def partitions(
    config: RunConfig, dataset: Dataset, honest: int, folder: Path, malicious: int = 1
) -> list[NodeConfig]:
    """Write one log a node below ``folder``; the node configs, the ``malicious`` nodes last.

    The two sides are those of :func:`emulation.federation.node_configs`. Attackers of one node act together,
    and see there what they see in ``fedsieve run``. Targets must be resolved. Raises ConfigError when
    there are more nodes than devices of a side.
    """
    if honest < 1:
        raise ConfigError(f"--nodes {honest}: expected at least one honest node")
    dataset = recent(dataset, config.data.max_length)
    good_rows, bad_rows = sides(config, dataset)
    if honest > len(good_rows):
        raise ConfigError(f"--nodes {honest}: there are {len(good_rows)} honest devices")
    own: NodeConfig = {"repeatable": True, "seed": config.seed, **open_book(config)}
    nodes: list[NodeConfig] = [
        {"path": str(log), **own} for log in write_shards(only(dataset, good_rows), honest, folder / "honest")
    ]
    if len(bad_rows):
        logs = write_shards(only(dataset, bad_rows), malicious, folder / "malicious")
        nodes += [{"path": str(log), **own, **attack_keys(config)} for log in logs]
    return nodes
