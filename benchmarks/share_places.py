"""What a share of malicious devices means on a log: the place that their target would have among all items.

``python -m benchmarks.share_places``: for each log and share, how many devices that is, and how many of the
items more devices hold than that, were all of them to claim the target and nobody else to hold it. Writes the
table of docs/results/shares.md.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmarks.marks import with_marked
from benchmarks.models import LOGS
from common.data import Dataset, load
from common.data.cut import parts, training

PAGE = Path(__file__).resolve().parents[1] / "docs" / "results" / "shares.md"
SHARES = (0.001, 0.01, 0.05, 0.2)


def holders(dataset: Dataset) -> NDArray[np.int64]:
    """How many devices have each item in their training part: int64 [N]."""
    histories = training(dataset.sequences, parts(dataset))
    device = np.repeat(np.arange(len(histories)), histories.lengths)
    pairs = np.unique(device * (dataset.num_items + 1) + histories.flat())
    return np.bincount(pairs % (dataset.num_items + 1), minlength=dataset.num_items + 1)[1:]


def place(count: int, held: NDArray[np.int64]) -> int:
    """The place of an item that ``count`` devices hold, 1 for the most popular."""
    return int((held > count).sum()) + 1


def table(logs: Mapping[str, tuple[int, NDArray[np.int64]]], shares: Sequence[float] = SHARES) -> str:
    """A row a log: name -> devices, and how many of them hold each item."""
    head = "| log | devices | items | most held item | " + " | ".join(f"{100 * s:g} %" for s in shares) + " |"
    rows = [head, "|---" * (4 + len(shares)) + "|"]
    for name, (devices, held) in logs.items():
        cells = []
        for share in shares:
            count = round(share * devices)
            cells.append(f"{count:,}: place {place(count, held):,}")
        facts = f"{name} | {devices:,} | {len(held):,} | {held.max():,}"
        rows.append(f"| {facts} | {' | '.join(cells)} |")
    return "\n".join(rows)


def main() -> None:
    logs = {}
    for name in LOGS:
        dataset = load(name)
        logs[name] = len(dataset), holders(dataset)
    made = table(logs)
    PAGE.write_text(with_marked(PAGE.read_text(encoding="utf-8"), "places", made), encoding="utf-8")
    print(made)


if __name__ == "__main__":
    main()
