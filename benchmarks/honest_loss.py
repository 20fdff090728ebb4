"""What each stage of the sieve takes from honest updates, over training, when nobody attacks.

``python -m benchmarks.honest_loss [CONFIG …] [--set KEY=VALUE …] [--rounds 30 60 150] [--seeds 0 1]
[--page]``

The plain mean trains; at the named rounds the stages are applied to the round's updates, and nothing of
it is used. The table gives the share of the energy (squared length) of honest row updates that the row
clip leaves: by the role of the row (next item alone, input alone, both; the others are negatives), by
length of history, and by surprise (how far of a whole interaction the row moved). Then the weight that
retention and reputation leave, the part of the encoders that the encoder clip leaves, and what a clip at
the crowd's median would have left. The cap sees every round, for it has a memory: of the rows that a round
trains, the share that it leaves as they are. All are means over the seeds.
By default four logs, with the settings that the project ships for them; ``--page`` writes
docs/results/honest.md and its picture (benchmarks/honest_page.py).
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import replace
from statistics import fmean

import numpy as np
import torch
from torch import Tensor

from benchmarks import honest_page
from client.cohort import Cohort
from common.config import RunConfig
from common.data import Dataset
from common.data.cut import training
from common.models import interaction_length
from common.seeding import generator, subkey
from common.settings import component
from common.settings import load as load_settings
from common.tasks import GlobalModel, TrainTask
from common.updates import DeviceUpdates
from emulation.federation import prepared
from experiments import shipped
from server.aggregators import Round, State
from server.aggregators.gram import middle
from server.aggregators.memory import Identity
from server.aggregators.reputation import Reputation
from server.aggregators.sieve import Sieve
from server.aggregators.stages import norm_factor, retention, retention_weight, row_clip, row_limits
from server.round.drawing import draw_slice
from server.round.pipeline import Pipeline
from server.round.popularity import estimate
from server.round.verdicts import Admitted, Audit

LOGS = ("demo", "lastfm", "amazon-beauty", "ml-1m")
ROLES = ("next item", "input", "both", "negative")
LENGTHS = ("shortest quarter", "second", "third", "longest quarter")
SURPRISES = ("moved under half of c", "half to all of c", "beyond c")


Shares = dict[str, float]
"""Label -> share left."""


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("configs", nargs="*", default=LOGS, help="names of shipped configs, or files")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", dest="overrides")
    parser.add_argument("--rounds", nargs="+", type=int, default=[30, 60, 150])
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1])
    parser.add_argument("--page", action="store_true", help="write the page and its picture in docs")
    args = parser.parse_args(arguments)
    found: dict[str, list[Shares]] = {}
    for wanted in args.configs:
        config = load_settings(shipped.config(wanted), args.overrides)
        if config.train.slices > 1 or config.train.slice_size == "auto":
            parser.error(f"{wanted}: train.slices 1 and a slice_size in items are what this measures")
        log, config = prepared(config)
        of_seeds = []
        for seed in args.seeds:
            print(f"{log.name}, {config.train.devices_per_round} devices a round, seed {seed}", flush=True)
            of_seeds.append(measured(config.model_copy(update={"seed": seed}), log, args.rounds))
        found[log.name] = [averaged(shares) for shares in zip(*of_seeds, strict=True)]
    print(f"\n{honest_page.table(args.rounds, found)}")
    if args.page:
        honest_page.write(args.rounds, found)


def averaged(of_seeds: Sequence[Shares]) -> Shares:
    """The mean of each share over seeds."""
    return {label: fmean(shares[label] for shares in of_seeds) for label in of_seeds[0]}


def under(config: RunConfig, log: Dataset, *constraints: str) -> Pipeline:
    """The plain mean under ``constraints``."""
    parts = {"aggregator": component("mean"), "constraints": tuple(map(component, constraints))}
    strategy = config.strategy.model_copy(update=parts)
    return Pipeline.build(config.model_copy(update={"strategy": strategy}), log.num_items)


def measured(config: RunConfig, log: Dataset, rounds: Sequence[int]) -> list[Shares]:
    """What is left at each of ``rounds``."""
    histories = training(log.sequences)
    pipeline, capped = under(config, log), under(config, log, "exposure_cap")
    state, found = pipeline.init(), []
    past: State = {}
    cap = capped.init().constraints
    key = subkey(state.secret, "honest loss")
    for number in range(1, max(rounds) + 1):
        draw = generator(key, number)
        chosen = (
            torch.randperm(len(histories), generator=draw)[: config.train.devices_per_round].sort().values
        )
        popularity = estimate(state.pulls, state.trained, len(histories))
        size = log.num_items if config.train.negatives == "full" else int(config.train.slice_size)
        items, log_q = draw_slice(popularity, size, draw, config.train.slice_power)
        task = TrainTask(
            run="honest loss",
            round=number,
            nonce="",
            model=state.model,
            items=items,
            log_q=log_q if config.train.slice_correction else torch.zeros_like(log_q),
            devices=chosen,
            model_config=config.model,
            train_config=config.train,
            client_config=config.client,
        )
        cohort = Cohort(task, chosen.numpy(), histories.take(chosen.numpy()), key=key)
        busy = cohort.take(cohort.busy())
        updates = busy.train()
        identity = Identity(torch.stack([torch.ones_like(updates.device), updates.device], dim=1))
        setting = Round(0, identity, draw, number=number)
        interaction = interaction_length(config.model, config.train, state.model.encoder)
        memory = Reputation()
        trust, past = memory(memory.cosines(updates.encoder, setting), past, setting)
        admitted = Admitted(updates, identity, Audit(number))
        held = capped.step(replace(state, constraints=cap), admitted, number).state
        after, cap = pipeline.step(state, admitted, number).state, held.constraints
        if number in rounds:
            shares = left(updates, busy, replace(setting, interaction=interaction), trust)
            found.append(shares | {"rows that the cap leaves": unmoved(after.model, held.model, items)})
        state = after
    return found


def left(updates: DeviceUpdates, cohort: Cohort, setting: Round, trust: Tensor) -> Shares:
    """What the stages leave of one round's updates."""
    rule, norms = Sieve(), updates.row_norms  # [n, K]
    limits = row_limits(updates.rows, norms, setting.interaction)  # c_ui [n, K]
    factors = row_clip(norms, rule.rows * limits)  # [n, K]
    energy, kept = norms.square(), (norms * factors).square()  # [n, K]
    table = {"all rows": part(kept, energy)}
    role = roles(cohort, updates.items)  # [n, K]
    table |= {f"row is {name}": part(kept, energy, role == k) for k, name in enumerate(ROLES)}
    quarter = torch.bucketize(
        updates.history.double(), updates.history.double().quantile(torch.tensor([0.25, 0.5, 0.75]).double())
    )
    table |= {
        f"{name} of histories": part(kept, energy, quarter[:, None] == k) for k, name in enumerate(LENGTHS)
    }
    surprise = torch.bucketize(norms / limits, torch.tensor([0.5, 1.0]))  # [n, K]
    table |= {name: part(kept, energy, (surprise == k) & (role < 3)) for k, name in enumerate(SURPRISES)}
    weights = retention_weight(retention(norms, factors), rule.retention)
    lengths = kept.sum(dim=1).sqrt().double()
    encoders = norm_factor(updates.encoder.norm(dim=1).double() / lengths.clamp_min(1e-12), rule.encoder)
    return table | {
        "weight after retention": float(weights.mean()),
        "weight after reputation": float(trust.mean()),
        "encoders": float(encoders.mean()),
        "all rows, clipped at the median row": part(
            (norms.clamp(max=float(middle(norms[role < 3])))).square(), energy, role < 3
        ),
    }


def unmoved(model: GlobalModel, held: GlobalModel, items: Tensor) -> float:
    """The share of the rows ``items`` [K] that are the same in both models."""
    rows = items.long()
    return float((model.table[rows] == held.table[rows]).all(dim=1).double().mean())


def part(kept: Tensor, energy: Tensor, where: Tensor | None = None) -> float:
    """Σ kept / Σ energy over ``where`` (bool, broadcasts to [n, K]); 1 where there is nothing."""
    if where is not None:
        kept, energy = kept * where, energy * where
    total = float(energy.double().sum())
    return float(kept.double().sum()) / total if total > 0 else 1.0


def roles(cohort: Cohort, items: Tensor) -> Tensor:
    """Index into ROLES of each row for each device: int64 [n, K]."""
    count = np.maximum(cohort.windows.lengths - 1, 0)
    place = np.full(cohort.task.model.num_items + 1, -1)
    place[items.numpy()] = np.arange(len(items))
    held = np.zeros((2, len(count), len(items)), dtype=bool)
    for kind, some in enumerate((cohort.windows.last(count), cohort.windows.first(count))):  # targets, inputs
        at = place[some.flat()]
        held[kind, some.owners()[at >= 0], at[at >= 0]] = True
    target, source = torch.from_numpy(held)
    return torch.where(target & source, 2, torch.where(target, 0, torch.where(source, 1, 3)))


if __name__ == "__main__":
    main()
