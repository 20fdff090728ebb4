"""What each attack costs a malicious device, in units of one honest local update.

``python -m benchmarks.attacks [--devices 48] [--repeats 5] [--threads 1]``. Honest training and the
attack (with its training) take turns in this process, on the same devices: SASRec d = 64, L = 50, slice
512 of 1,682, histories as long as ML-100K's. The unit is the honest training next to it.
"""

from __future__ import annotations

import argparse
import math
import platform
import statistics
import time
from collections.abc import Callable
from dataclasses import replace

import torch
from flwr.app import RecordDict

from attacks import ATTACKS, Attack, View, build_attack
from attacks.adaptive import MODES
from client.cohort import Cohort
from common.config import ClientConfig, ModelConfig, TrainConfig
from common.models import initial
from common.seeding import generator
from common.tasks import TrainTask
from common.updates import DeviceUpdates
from server.round.drawing import draw_slice

ITEMS, SLICE = 1682, 512
LIMIT = 3.0
VARIANTS: dict[str, tuple[dict[str, object], ...]] = {
    "adaptive": tuple({"mode": mode} for mode in MODES),
    "dv_fsr": tuple({"part": part} for part in ("both", "explicit", "implicit")),
    "spattack": ({"mode": "l"}, {"mode": "o"}),
}
"""Attacks whose parameters change what they do, and not only how much."""


def make_task(seed: int = 0) -> TrainTask:
    """A round on a model that is not trained, which costs the same; with the protocol's default settings."""
    model_config = ModelConfig()
    model, _ = initial(model_config, ITEMS, generator(seed, "model"))
    chosen, log_q = draw_slice(torch.zeros(ITEMS), SLICE, generator(seed, "slice"))
    return TrainTask(
        run="benchmark",
        round=2,
        nonce="00",
        model=model,
        items=chosen,
        log_q=log_q,
        devices=torch.arange(1),
        model_config=model_config,
        train_config=TrainConfig(),
        client_config=ClientConfig(),
    )


def fleet(task: TrainTask, devices: int) -> Cohort:
    """Log-normal histories with the median and the spread of ML-100K: 65 interactions, 20 to 700."""
    draw = generator(0, "lengths")
    lengths = torch.exp(math.log(65) + torch.randn(devices, generator=draw)).clamp(20, 700).int().tolist()
    histories = [(torch.randperm(ITEMS, generator=draw)[:n] + 1).int().numpy() for n in lengths]
    return Cohort(task, range(devices), histories, key=5)


def play(attack: Attack, cohort: Cohort, target: int, memory: RecordDict) -> DeviceUpdates:
    """What a malicious node does between task and message."""
    task = cohort.task
    pairs = zip(cohort.sequences, cohort.numbers, strict=True)
    own = replace(cohort, sequences=[attack.history(s, n, (target,), 0) for s, n in pairs])
    view = View(task, (target,), own, generator(0, "attack", task.round), memory)
    return attack.poison(own.train(lambda batch, devices: attack.relabel(batch, view)), view)


def ratios(attack: Attack, cohort: Cohort, target: int, repeats: int) -> list[float]:
    """Seconds of the attack over those of the honest training before it, ``repeats`` times.

    The first round of both is not counted: it fills the memory of attacks that have one.
    """
    memory = RecordDict()
    play(attack, cohort, target, memory)
    found = []
    for number in range(repeats):
        moved = replace(cohort.task.model, table=cohort.task.model.table * (1 + 1e-3 * (number + 1)))
        fresh = replace(cohort, task=replace(cohort.task, model=moved))
        unit = timed(lambda fresh=fresh: replace(fresh).train())  # type: ignore[misc]
        found.append(timed(lambda fresh=fresh: play(attack, replace(fresh), target, memory)) / unit)  # type: ignore[misc]
    return found


def timed(work: Callable[[], object]) -> float:
    started = time.process_time()
    work()
    return time.process_time() - started


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--devices", type=int, default=48)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--attacks", nargs="+", default=sorted(ATTACKS))
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    task = make_task()
    cohort = fleet(task, args.devices)
    target = int(task.items[0])
    replace(cohort).train()
    print(
        f"{platform.machine()}, {args.threads} thread(s), torch {torch.__version__}, {args.devices} devices"
    )
    print("\n| attack | kind | honest updates | smallest to largest |\n|---|---|---|---|")
    over = []
    for name in args.attacks:
        if ATTACKS[name].kind not in ("data", "model"):
            continue
        for params in VARIANTS.get(name, ({},)):
            found = ratios(build_attack(name, params), cohort, target, args.repeats)
            label = " ".join([name, *map(str, params.values())])
            cost = statistics.median(found)
            over += [label] if cost > LIMIT else []
            print(
                f"| {label} | {ATTACKS[name].kind} | {cost:.2f} | {min(found):.2f} to {max(found):.2f} |",
                flush=True,
            )
    print(f"\nabove {LIMIT:g}: {', '.join(over) or 'none'}")


if __name__ == "__main__":
    main()
