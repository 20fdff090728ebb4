"""How far a strategy is from the oracle, in one table over several grids.

``python -m benchmarks.bars DIR … --rule sieve [--share 0.2]``: folders of
``fedsieve compare``, one of them with the cells of the oracle, the plain mean under `slow_reply`, where
malicious devices never answer. Seeds with an oracle count; targets are averaged within a seed. Entries are
means over seeds ± half their 95 % t interval:

ER@10        and the worst cell's
- parity     ER@10 less that of `parity` with the same seed and target; – where a seed has none
of oracle's  NDCG@10 of test and validation together, in per cent of the oracle's of that seed; test alone
shortest     NDCG@10 of the quartile with the shortest histories, likewise
weights      mean weight of honest devices, shortest quartile over longest
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import polars as pl

from benchmarks.interval import mean_and_half_width

ORACLE = {"aggregator": "mean", "attack": "slow_reply"}
YARDSTICK = "parity"
COLUMNS = ("ER@10", "worst", "- parity", "NDCG@10 of oracle's", "test alone", "shortest", "weights")

Score = Callable[[pl.DataFrame], float]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("folders", nargs="+", type=Path)
    parser.add_argument("--rule", required=True)
    parser.add_argument("--share", type=float, default=0.2)
    args = parser.parse_args()
    print(table(read(args.folders), args.rule, args.share))


def read(folders: Sequence[Path]) -> pl.DataFrame:
    """The cells that are done, of all folders."""
    grids = [pl.read_csv(folder / "results.csv", infer_schema_length=None) for folder in folders]
    return pl.concat(grids, how="diagonal_relaxed").filter(pl.col("status") == "done")


def table(found: pl.DataFrame, rule: str, share: float) -> str:
    """One row a log and attack. Raises ValueError where there is no such rule, share or oracle."""
    here = found.filter((pl.col("malicious_share") - share).abs() < 1e-9)
    oracle = _oracles(here)
    mine = here.filter(pl.col("aggregator") == rule)
    if not len(mine) or not oracle:
        rules = ", ".join(found["aggregator"].unique(maintain_order=True))
        raise ValueError(f"no cells of {rule!r} (there are: {rules}) beside an oracle, at a share of {share}")
    lines = [f"| log | attack | seeds | {' | '.join(COLUMNS)} |", "|---" * (3 + len(COLUMNS)) + "|"]
    for (data, attack), cells in mine.group_by(["data", "attack"], maintain_order=True):
        seeds = {s: part for (s,), part in cells.group_by(["seed"]) if (str(data), int(str(s))) in oracle}
        if not seeds:
            continue
        ours = [seeds[s] for s in sorted(seeds, key=str)]
        best = [oracle[str(data), int(str(s))] for s in sorted(seeds, key=str)]
        exposed = [_mean(part, "er@10") for part in ours]
        weights = [_mean(part, "weight.q1") / _mean(part, "weight.q4") for part in ours]
        beyond = _beyond(ours, mine.filter((pl.col("data") == data) & (pl.col("attack") == YARDSTICK)))
        entries = [
            _percent(exposed),
            f"{100 * max(float(str(part['er@10'].max())) for part in ours):.1f} %",
            "–" if beyond is None or attack == YARDSTICK else _percent(beyond),
            *(_percent(_ratios(ours, best, score)) for score in (_both, _test, _shortest)),
            f"{mean_and_half_width(weights)[0]:.3f}",
        ]
        lines.append(f"| {data} | {attack} | {len(ours)} | {' | '.join(entries)} |")
    return "\n".join(lines)


def _oracles(here: pl.DataFrame) -> Mapping[tuple[str, int], pl.DataFrame]:
    cells = here.filter([pl.col(name) == value for name, value in ORACLE.items()])
    return {(str(d), int(str(s))): part for (d, s), part in cells.group_by(["data", "seed"])}


def _ratios(ours: Sequence[pl.DataFrame], best: Sequence[pl.DataFrame], score: Score) -> list[float]:
    return [score(a) / score(b) for a, b in zip(ours, best, strict=True)]


def _beyond(ours: Sequence[pl.DataFrame], parity: pl.DataFrame) -> list[float] | None:
    """By seed, over the targets that both have."""
    gains = [
        part.join(parity, on=["seed", "aim"], suffix=".parity").select(
            pl.col("er@10") - pl.col("er@10.parity")
        )
        for part in ours
    ]
    return [_mean(gain, "er@10") for gain in gains] if all(len(gain) for gain in gains) else None


def _mean(cells: pl.DataFrame, column: str) -> float:
    return float(str(cells[column].mean()))


def _both(cells: pl.DataFrame) -> float:
    return _mean(cells, "test.ndcg@10") + _mean(cells, "valid.ndcg@10")


def _test(cells: pl.DataFrame) -> float:
    return _mean(cells, "test.ndcg@10")


def _shortest(cells: pl.DataFrame) -> float:
    return _mean(cells, "q1.ndcg@10")


def _percent(values: Sequence[float]) -> str:
    mean, half = mean_and_half_width(values)
    return f"{100 * mean:.1f}" + (f" ± {100 * half:.1f} %" if len(values) > 1 else " %")


if __name__ == "__main__":
    main()
