"""``fedsieve run --centralised``: the reference of a federated run, from a config to its folder."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from common.config import RunConfig
from common.data import content_digest
from common.device import resolve, title
from common.errors import ConfigError
from common.machine import peak_cuda_mib, peak_mib
from common.tasks import GlobalModel
from emulation.federation import prepared, recurring
from experiments.centralised.program import CENTRALISED, Recipe, epochs_of, start
from server.app import evaluated, with_recurring
from server.records.begun import RECIPE
from server.records.checkpoint import write_atomically
from server.records.outputs import RunFolder
from server.records.own_ids import OwnIds
from server.records.protocol_line import log_text, loss_text, recurring_text, split_text
from server.records.report import Listener, RoundReport
from server.round.state import ServerState, no_counts

WATCHED = "ndcg@10"
"""Of the validation items: the model that was best by it is kept."""

ONLY_FEDERATED = (
    ("train", "local_steps"),
    ("train", "slices"),
    ("client", "clip"),
    ("client", "noise"),
    ("client", "decoys"),
    ("client", "quantise"),
)
"""Settings of what a device sends: with another value this would not be the reference of that federation."""


def centralise(
    config: RunConfig, out: Path, recipe: Recipe | None = None, listeners: Sequence[Listener] = ()
) -> dict[str, Any]:
    """Train ``config`` in one program, write ``out`` as a federated run does, and return the summary.

    Raises ConfigError for settings that would change what a federation trains and mean nothing here, RunError
    where a loss is not finite or nobody can be ranked.
    """
    recipe = recipe or Recipe()
    _check(config)
    dataset, config = prepared(config)
    program = start(config, dataset)
    folder = RunFolder(out, config, data=content_digest(dataset), own=OwnIds.of(dataset))
    told: list[Listener] = [folder, *listeners]
    folder.hold()
    try:
        folder.create()
        write_atomically(out / RECIPE, json.dumps(asdict(recipe), indent=2).encode())
        kept, best, found, epoch = program.frozen(), 0, -1.0, 0
        for epoch, figures in epochs_of(program, recipe):
            model = program.frozen()
            evaluation = program.evaluated(model, "valid", epoch)
            for one in told:
                one.on_round(RoundReport(epoch, figures), _state(model, epoch))
                one.on_evaluation(evaluation)
            if (value := evaluation.groups.get("all", {}).get(WATCHED, 0.0)) > found:
                kept, best, found = model, epoch, value
            if epoch - best >= recipe.patience:
                break
        for split in ("valid", "test"):
            evaluation = program.evaluated(kept, split, best)
            for one in told:
                one.on_evaluation(evaluation)
        facts = _facts(config, folder, recipe, epoch, best) | with_recurring(recurring(dataset))
        facts["protocol"] += log_text(config) + recurring_text(recurring(dataset))
        return folder.finish(_state(kept, best), facts)
    finally:
        folder.close()


def _check(config: RunConfig) -> None:
    if config.attack.name not in ("none", "control"):
        raise ConfigError(
            f"attack.name: {config.attack.name!r}; with --centralised there is nobody to attack; "
            "add --set attack.name=none"
        )
    if config.train.patience:
        raise ConfigError(
            f"train.patience: given {config.train.patience}, in evaluations of a federation; "
            "--centralised has --patience, in epochs"
        )
    default = RunConfig()
    for section, name in ONLY_FEDERATED:
        given = getattr(getattr(config, section), name)
        if given != (valid := getattr(getattr(default, section), name)):
            raise ConfigError(f"{section}.{name}: given {given}; with --centralised only {valid}")


def _state(model: GlobalModel, epoch: int) -> ServerState:
    """The model as listeners and files want it; there is no server whose state it were."""
    counts = no_counts(model.num_items)
    return ServerState(epoch, model, {}, {}, {}, counts, counts, b"")


def _facts(config: RunConfig, folder: RunFolder, recipe: Recipe, epochs: int, best: int) -> dict[str, Any]:
    device, train = title(resolve(config.device)), config.train
    corrected = "" if train.slice_correction else ", no log q"
    among = {
        "full": "all items",
        "device": f"{train.device_negatives} negatives a user",
        "slice": f"slice {train.slice_size} (popularity^{train.slice_power:g}{corrected})",
    }[train.negatives]
    falls = f", falling from {recipe.decay_from:.0%} of the epochs on" if recipe.decay_from < 1 else ""
    protocol = (
        f"full ranking, {split_text(config)}, seen items filtered; centralised: "
        f"epoch {best} of {epochs}, best {WATCHED.upper()} of validation (patience {recipe.patience}), "
        f"{recipe.batch} users a step, {among}, {loss_text(train)}, Adam {recipe.rate:g}{falls}; on {device}"
    )
    return {
        CENTRALISED: True,
        "rounds": epochs,
        "best_epoch": best,
        "seconds": round(folder.elapsed(), 3),
        "seconds_evaluation": round(folder.totals["seconds_evaluation"], 3),
        "protocol": protocol,
        "data": config.data.path or config.data.name,
        "model": config.model.name,
        "aggregator": CENTRALISED,
        **config.scenario(),
        **evaluated(config, folder.own),
        "seed": config.seed,
        "device": device,
        "peak_rss_mb": round(peak_mib(), 1),
        **({"peak_cuda_mb": round(card, 1)} if (card := peak_cuda_mib()) else {}),
    }
