"""Beyond the means of accuracy: what is recommended, for which items it is right, how sure the means are.

Measured where the log of a run is at hand, on its finished model. Nodes of a deployment tell sums alone, and
not which items a device is shown. docs/metrics.md has formulas and references.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from client.ranking import answer_ranks, last_hidden
from client.tiles import USERS
from common.data import Dataset
from common.data.cut import held_out, only, parts, training_counts
from common.data.ragged import Ragged
from common.metrics import metric
from common.seeding import derive
from experiments.trained import Trained

TOP = 10
"""Items of a list."""
LEVEL = 0.95
DRAWS = 1 << 22
"""Weights of users that a bootstrap holds at once."""
HEAD, TAIL = 0.2, 0.2
"""Share of all interactions that the most popular items have together, and the least popular ones."""
GROUPS = ("head", "middle", "tail", "cold")
Values = NDArray[np.float64]
Index = NDArray[np.int64]
Seconds = Ragged[np.float64]


@dataclass(frozen=True)
class Judged:
    """The test answers of n devices: histories, answers [n], the seconds of the histories, training counts.

    counts  [N + 1]: how often each item is in the training parts of all devices; place 0 is padding
    """

    histories: Ragged[np.int32]
    answers: Index
    times: Seconds | None
    counts: Index

    @staticmethod
    def of(dataset: Dataset, places: Sequence[int]) -> Judged:
        """Of the devices at ``places``; counts come from every device."""
        some = only(dataset, places)
        how = parts(some)
        histories, answers = held_out(some.sequences, "test", how)
        times = None if some.times is None else held_out(some.times, "test", how)[0]
        return Judged(histories, answers.astype(np.int64), times, training_counts(dataset))


def beyond(run: Trained, dataset: Dataset, places: Sequence[int]) -> dict[str, Any]:
    """``beyond``, ``item_groups``, ``intervals`` and ``more_cuts`` of the test items, for the summary."""
    judged, evaluation = Judged.of(dataset, places), run.config.eval
    if not len(judged.answers):
        return {}
    ranks = ranks_of(run, judged)
    with torch.no_grad():
        shown = np.bincount(_flat(lists(run, judged)), minlength=len(judged.counts))
    found: dict[str, Any] = {
        "beyond": of_lists(shown, judged.counts) | {"devices": len(ranks)},
        "item_groups": by_item(ranks, judged.answers, judged.counts),
        **intervals(run, ranks),
    }
    if evaluation.cuts:
        names = [f"{kind}@{k}" for kind in ("hr", "ndcg") for k in evaluation.cuts]
        found["more_cuts"] = {name: float(metric(name, torch.from_numpy(ranks)).mean()) for name in names}
    return found


def ranks_of(run: Trained, judged: Judged) -> Index:
    """0-based ranks [n] of the answers, seen items filtered, as the devices of the run have them."""
    length = run.config.model.max_len
    with torch.no_grad():
        both = answer_ranks(
            run.encoder(), run.parameters, judged.histories, judged.answers, length, judged.times
        )
    found: Index = both[0].numpy()
    return found


def intervals(run: Trained, ranks: Index) -> dict[str, Any]:
    """``intervals`` of HR@10, NDCG@10 and MRR, by ``eval.bootstrap`` resamples; nothing with 0 of them."""
    resamples = run.config.eval.bootstrap
    if not resamples or not len(ranks):
        return {}
    values = {name: metric(name, torch.from_numpy(ranks)).numpy() for name in ("hr@10", "ndcg@10", "mrr")}
    about = {"over": "users", "level": LEVEL, "resamples": resamples, "devices": len(ranks)}
    return {"intervals": about | bootstrap(values, resamples, run.config.seed)}


def lists(run: Trained, judged: Judged, top: int = TOP) -> Iterator[Index]:
    """The ``top`` items of each device [m, ≤ top], block after block, none that it had before.

    0 stands where a device has fewer items left.
    """
    model, table = run.encoder(), run.parameters.embeddings
    for first in range(0, len(judged.histories), USERS):
        some = judged.histories[first : first + USERS]
        times = None if judged.times is None else judged.times[first : first + USERS]
        hidden = last_hidden(model, run.parameters, some, run.config.model.max_len, times)  # [m, d]
        scores = hidden @ table.T  # [m, N + 1]
        scores[:, 0] = -torch.inf
        owners, items = torch.from_numpy(some.owners()), torch.from_numpy(some.flat().astype(np.int64))
        scores[owners, items] = -torch.inf
        scores = scores.nan_to_num(nan=-torch.inf)
        best = scores.topk(min(top, scores.shape[1]), dim=1)
        yield torch.where(best.values > -torch.inf, best.indices, 0).numpy()


def of_lists(shown: Index, counts: Index) -> dict[str, float]:
    """Coverage, Gini, mean popularity and novelty of lists that show item i ``shown[i]`` times.

    coverage = |{i : shown_i > 0}| / N; gini = Σ_r (2 r − N − 1) x_(r) / (N Σ x), x ascending;
    popularity = Σ shown_i n_i / Σ shown_i; novelty = −Σ shown_i log₂ p_i / Σ shown_i, with
    p_i = max(n_i, 1) / Σ n.
    """
    x, n = shown[1:].astype(np.float64), counts[1:].astype(np.float64)
    total = max(x.sum(), 1.0)
    ordered, places = np.sort(x), np.arange(1, len(x) + 1)
    information = -np.log2(np.maximum(n, 1.0) / max(n.sum(), 1.0))
    return {
        f"coverage@{TOP}": float((x > 0).mean()),
        f"gini@{TOP}": float(((2 * places - len(x) - 1) * ordered).sum() / (len(x) * total)),
        f"popularity@{TOP}": float((x * n).sum() / total),
        f"novelty@{TOP}": float((x * information).sum() / total),
    }


def item_groups(counts: Index) -> Index:
    """The group of each item [N + 1], its place in GROUPS: by how often it is in the training parts.

    Most popular first, items are head until they have a share HEAD of all interactions together; last, those
    that have TAIL together are the tail; an item that nobody trained on is cold.
    """
    order = np.argsort(-counts[1:], kind="stable") + 1
    before = np.cumsum(counts[order]) - counts[order]
    total = max(int(counts[1:].sum()), 1)
    place = np.where(before < HEAD * total, 0, np.where(before < (1 - TAIL) * total, 1, 2))
    groups = np.full(len(counts), GROUPS.index("cold"))
    groups[order] = np.where(counts[order] > 0, place, GROUPS.index("cold"))
    return groups


def by_item(ranks: Index, answers: Index, counts: Index) -> dict[str, dict[str, float]]:
    """HR@10 and NDCG@10 of the devices whose answer is of each group, with how many devices and items."""
    groups = item_groups(counts)
    found: dict[str, dict[str, float]] = {}
    for number, name in enumerate(GROUPS):
        own = ranks[groups[answers] == number]
        sizes = {"devices": len(own), "items": int((groups[1:] == number).sum())}
        names = (f"hr@{TOP}", f"ndcg@{TOP}") if len(own) else ()
        means = {one: float(metric(one, torch.from_numpy(own)).mean()) for one in names}
        found[name] = {**means, **sizes}
    return found


def bootstrap(values: Mapping[str, Values], resamples: int, seed: int) -> dict[str, list[float]]:
    """Percentile interval of the mean of each of ``values`` [n], over n users drawn again with replacement.

    The users of a resample are the same for all metrics. Efron, *Bootstrap Methods* (1979).
    """
    table = np.stack(list(values.values()), axis=1)  # [n, M]
    draw, n = np.random.default_rng(derive(seed, "bootstrap")), len(table)
    step, means = max(1, DRAWS // n), []
    for first in range(0, resamples, step):
        size = min(step, resamples - first)
        weights = draw.multinomial(n, np.full(n, 1 / n), size=size)  # [b, n]
        means.append(weights @ table / n)
    low, high = np.quantile(np.concatenate(means), [(1 - LEVEL) / 2, (1 + LEVEL) / 2], axis=0)
    return {name: [float(a), float(b)] for name, a, b in zip(values, low, high, strict=True)}


def _flat(blocks: Iterator[Index]) -> Index:
    return np.concatenate([block.ravel() for block in blocks])
