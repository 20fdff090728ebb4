"""The app as a deployment runs it: logs split over nodes, node configs, and the run's own config."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from common.config import RunConfig
from common.data import Dataset, recent, write_shards
from common.data.cut import only
from common.data.shards import CATALOGUE
from common.errors import ConfigError
from common.settings import Scalar, to_flat
from emulation.federation import NodeConfig, attack_keys, measured, sides
from emulation.targets import with_targets
from experiments import shipped

HONEST, ATTACKING = "client.app:app", "attacks.app:app"
PACKAGES = ("server", "client", "common", "attacks", "transport")


@dataclass(frozen=True)
class Plan:
    """One run of a deployment: a node config each, honest nodes first, and what the server is told."""

    nodes: Sequence[NodeConfig]
    config: RunConfig

    def run_config(self, out: Path, resume: bool = False) -> dict[str, Scalar]:
        """Flower's run config for this run, with its results in ``out``."""
        return {**to_flat(self.config, secret=True), "out": str(out.resolve()), "resume": resume}


def plan(config: RunConfig, dataset: Dataset, honest: int, malicious: int, folder: Path) -> Plan:
    """Write one log a node to ``folder`` and say who runs on which; the last ``malicious`` nodes attack.

    The malicious devices are those of an emulation with the same seed, and attack.share the share of nodes.
    The server is given the catalogue alone, never a log, and waits for all nodes before the first round.
    Raises ConfigError when malicious nodes have no attack to run, or there are more nodes than devices.
    """
    if malicious and config.attack.name == "none":
        raise ConfigError(f"attack.name: none, but {malicious} malicious node(s) are asked for")
    if config.attack.knowledge == "full":
        raise ConfigError("attack.knowledge: full is for `fedsieve run` alone: no node sees another's update")
    total = honest + malicious
    dataset = recent(dataset, config.data.max_length)
    config = with_targets(config, dataset)
    attack = {"name": config.attack.name if malicious else "none", "share": malicious / total}
    config = config.model_copy(update={"attack": config.attack.model_copy(update=attack)})
    good, bad = (only(dataset, places) for places in sides(config, dataset))
    logs = write_shards(good, honest, folder) if honest else []
    logs += write_shards(bad, malicious, folder / "malicious") if malicious else []
    # A run whose server can be repeated is an emulation: its devices can be repeated too.
    own: NodeConfig = {"repeatable": True, "seed": config.seed} if config.strategy.secret else {}
    own_keys = [measured(config)] * honest + [attack_keys(config) if malicious else {}] * malicious
    nodes = [{"path": str(log.resolve()), **own, **side} for log, side in zip(logs, own_keys, strict=True)]
    sections = {
        "data": config.data.model_copy(update={"path": str((logs[0].parent / CATALOGUE).resolve())}),
        "strategy": config.strategy.model_copy(update={"wait_nodes": total}),
    }
    return Plan(nodes, config.model_copy(update=sections))


def stage(folder: Path, client_app: str = HONEST) -> Path:
    """The app's own files in ``folder``: ``flwr run`` looks at every file beside pyproject.toml, and in a
    working tree those are the tens of thousands of .venv.

    client_app: what Flower's own nodes run; with ``attacks.app:app`` some of them can be malicious.
    """
    folder.mkdir(parents=True)
    text = shipped.APP.read_text(encoding="utf-8")
    (folder / "pyproject.toml").write_text(text.replace(f'"{HONEST}"', f'"{client_app}"'), encoding="utf-8")
    for package in PACKAGES:
        skip = shutil.ignore_patterns("__pycache__")
        shutil.copytree(shipped.HOME / package, folder / package, ignore=skip)
    return folder
