"""How far every rule is from its float64 oracle, and from byzfl and Flower where they have it.

``python -m benchmarks.agreement --write`` writes docs/agreement.md. byzfl takes part where it can be
imported (``pip install --no-deps byzfl``: what it asks for pulls gigabytes), else its column is empty.
``--data amazon-beauty`` takes the sparse round from a real log instead of one made like it.
"""

from __future__ import annotations

import argparse
import logging
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

from benchmarks.peers import byzfl_rules, flower_rules
from benchmarks.rules import OURS
from common.data import load
from common.settings import component
from common.updates import DeviceUpdates
from server.aggregators import AGGREGATORS, build_aggregator, products
from server.aggregators.gram import middle, squared_distances
from server.aggregators.pre import with_pre
from tests.server.aggregators.helpers import apply, flat, flat_of, make, served
from tests.server.aggregators.oracles_registry import HELD, PARAMETERS, difference
from tests.server.aggregators.sparse import classic_round, like_beauty

PAGE = Path(__file__).resolve().parents[1] / "docs" / "agreement.md"
N, F = 16, 3
MIXED = {"nnm + mean": ("mean", ["nnm"], {}), "arc + mean": ("mean", ["arc"], {})}
ROWS = [*AGGREGATORS, *MIXED]
GIVEN = {"fldetector", "union", "signguard"}
"""Rules whose own clustering says who takes part; the oracle does the rest."""

HEAD = f"""# Agreement

Written by `python -m benchmarks.agreement --write`. One round of {N} devices against {F}. *Oracle*: the
largest difference between a rule and its slow float64 version in `tests/` (code of its own), over the largest
value of the result; on dense updates of 22 values, on {{wide}} values in float32 blocks, and on the union
slice of a classic round as sparse as Amazon Beauty ({{union}} rows, {{thin:.0%}} of them held by at most two
devices). *byzfl* and *Flower*: the same over their result on the dense updates,
with their convention set here too (`tests/server/aggregators/test_peers.py` on more rounds). Left out:
byzfl's CAF and bucketing, which draw at random, and Flower's Bulyan, which scores once where the paper
scores anew. A star: who takes part is the rule's own clustering, and the oracle does the rest.

With `--data amazon-beauty` the sparse round is one of the real log (373 rows): 2e-7 at most there.

| rule | oracle, dense | oracle, large | oracle, sparse | byzfl | Flower |
|---|---|---|---|---|---|
"""


def sparse_round(data: str) -> DeviceUpdates:
    """A round of the classic protocol, of a real log or of one made as sparse as Beauty."""
    if not data:
        return classic_round(like_beauty(N), 1500, 12)
    log = load(data)
    order = torch.randperm(len(log), generator=torch.Generator().manual_seed(0))[:N].tolist()
    return classic_round([log.sequences[i][-11:] for i in order], log.num_items, 16)


def beside(name: str, updates: DeviceUpdates, peers: dict[str, dict[str, Tensor]], tau: float) -> list[str]:
    """Differences to the peers that have the rule."""
    rule, pre, params = (OURS | MIXED).get(name, (name, [], {}))
    if name == "centred_clipping":
        params = {"tau": tau}
    cells = []
    for found in peers.values():
        if name not in found:
            cells.append("–")
            continue
        own = {**params, **({"neighbours": "paper"} if found is peers["Flower"] and "krum" in name else {})}
        if name == "geometric_median":
            own = PARAMETERS[name]
        built = with_pre(build_aggregator(component(rule, **own)), [component(p) for p in pre])
        result, _ = built(updates, built.init(), served(updates, F))
        theirs = found[name].double()
        cells.append(f"{float((flat_of(result) - theirs).abs().max() / theirs.abs().max()):.0e}")
    return cells


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", default="")
    parser.add_argument("--write", action="store_true")
    args = parser.parse_args()
    logging.getLogger("flwr").setLevel(logging.ERROR)
    dense, large, sparse = make(N), make(N, width=products.SAMPLED), sparse_round(args.data)
    values = flat(dense).float()
    tau = float(middle(squared_distances(flat(dense) @ flat(dense).T)[0]).sqrt()) / 2
    peers = {
        "byzfl": {name: rule()() for name, rule in byzfl_rules(values, F, tau).items()},
        "Flower": {name: rule()() for name, rule in flower_rules(values, F).items()},
    }
    assert sparse.touched is not None
    thin = float((sparse.touched.sum(dim=0) <= 2).float().mean())
    text = HEAD.format(wide=f"{flat(large).shape[1]:,}", union=f"{sparse.rows.shape[1]:,}", thin=thin)
    for name in ROWS:
        own = ["–"] * 3
        if name in AGGREGATORS:
            own = [f"{difference_of(name, *case):.0e}" for case in ((dense, 1), (large, 0), (sparse, 1))]
        star = "*" if name in GIVEN else ""
        text += f"| {name}{star} | {' | '.join(own + beside(name, dense, peers, tau))} |\n"
    for name in HELD:
        result = apply(name, sparse, F, electorate="touched")
        cell = f"{difference(name, sparse, F, result, 'touched'):.0e}"
        text += f"| {name}, `electorate: touched` | – | – | {cell} | – | – |\n"
    if args.write:
        PAGE.write_text(text, encoding="utf-8")
    print(text)


def difference_of(name: str, updates: DeviceUpdates, small: int) -> float:
    """Against the oracle; with ``small`` 0 the round takes the way of large ones."""
    before = products.SMALL
    products.SMALL = before if small else 0
    try:
        params = PARAMETERS.get(name, {})
        result = apply(name, updates, F, **params)
    finally:
        products.SMALL = before
    return difference(name, replace(updates), F, result)


if __name__ == "__main__":
    main()
