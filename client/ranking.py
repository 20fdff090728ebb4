"""Federated evaluation: a device ranks the full catalogue and sends sums."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.func import functional_call, vmap

from client.batch import Histories, buckets, gaps_of
from client.tiles import Pairs, Tiles, ranks
from common.data.cut import recurs
from common.data.ragged import Index, Ragged
from common.data.types import Items
from common.logs import event
from common.metrics import add, exposure_values, rank_values
from common.models import layout_of
from common.tasks import EXPOSURES, GROUPS, METRICS, EvaluateSums, GlobalModel

_LOG = logging.getLogger(__name__)
Seconds = Ragged[np.float64]
DEVICES = 8192
"""Devices whose hidden states are there at once."""

POSITIONS, ON_A_CARD = 1 << 13, 1 << 17
"""Positions that the encoder works out at once: 2 MiB an activation at d = 64 on a CPU, 32 MiB elsewhere."""

NEWS_S = 5.0
"""Seconds between two lines about a long evaluation."""


def last_hidden(
    model: nn.Module,
    parameters: GlobalModel,
    histories: Histories,
    max_len: int,
    times: Seconds | None = None,
) -> Tensor:
    """The last hidden state of n histories, each on the shortest bucket that holds it: [n, d].

    times: seconds of every interaction of ``histories``, for models that read them.
    """
    table = parameters.table
    named = layout_of(model).unflatten(parameters.encoder)
    hidden = table.new_empty(len(histories), table.shape[1])
    timed = getattr(model, "timed", False)
    most = POSITIONS if table.device.type == "cpu" else ON_A_CARD
    for length, members in buckets(histories.lengths, max_len) if len(histories) else ():
        last = torch.tensor([length - 1], device=table.device)

        def one(items: Tensor, padding: Tensor, *gaps: Tensor, last: Tensor = last) -> Tensor:
            when = {"gaps": gaps[0]} if gaps else {}
            out: Tensor = functional_call(
                model, named, (items, padding), {"positions": last, **when}
            )  # [1, d]
            return out[0]

        step = max(1, most // length)
        for first in range(0, len(members), step):
            some = members[first : first + step]
            ids = torch.from_numpy(histories.take(some).padded(length)).to(table.device).long()  # [m, ℓ]
            what: tuple[Tensor, ...] = (parameters.embed(ids), ids == 0)  # [m, ℓ, d], [m, ℓ]
            if timed:
                gaps = torch.zeros(ids.shape) if times is None else gaps_of(times.take(some), length)
                what = (*what, gaps.to(table.device))
            hidden[torch.from_numpy(some).to(table.device)] = vmap(one)(*what)  # [m, d]
    return hidden


def score(
    model: nn.Module,
    parameters: GlobalModel,
    histories: Sequence[Items],
    max_len: int,
    times: Seconds | None = None,
) -> Tensor:
    """Scores of every catalogue item as the next of a few histories: [n, N + 1], column 0 meaningless.

    times: seconds of every interaction, for models that read them.
    """
    hidden = last_hidden(model, parameters, Ragged.of(histories, np.int32), max_len, times)  # [n, d]
    return hidden @ parameters.embeddings.T


def nothing(targets: int) -> EvaluateSums:
    """The sums of no devices."""
    return EvaluateSums(
        metrics=torch.zeros(len(GROUPS), len(METRICS), dtype=torch.float64),
        count=torch.zeros(len(GROUPS), dtype=torch.int64),
        exposure=torch.zeros(targets, len(EXPOSURES), dtype=torch.float64),
        eligible=torch.zeros(targets, dtype=torch.int64),
    )


def answer_ranks(
    model: nn.Module,
    parameters: GlobalModel,
    histories: Sequence[Items],
    answers: Sequence[int] | Index,
    max_len: int,
    times: Seconds | None = None,
) -> Tensor:
    """0-based ranks of ``answers`` after ``histories``, int64 [2, n]: seen items filtered, and not.

    An answer that recurs in its history has one rank, among all items.
    """
    parts = [
        part.ranks[:, :, 0] for part in _ranked(model, parameters, histories, answers, (), max_len, times)
    ]
    return torch.cat(parts, dim=1).cpu() if parts else torch.zeros(2, 0, dtype=torch.int64)


def evaluate(
    model: nn.Module,
    parameters: GlobalModel,
    histories: Sequence[Items],
    answers: Sequence[int] | Index,
    targets: Sequence[int],
    quartiles: tuple[int, int, int],
    max_len: int,
    times: Seconds | None = None,
    group: int = 0,
) -> EvaluateSums:
    """Sums over devices: rank of ``answers`` after ``histories``, exposure of ``targets``.

    Seen items are filtered, and not filtered beside it; an answer that recurs in its history is ranked among
    all items in both, as a filter would take its rivals and leave it. A device counts for a target that is
    neither in its history nor its answer. With ``group`` an item, the exposure to devices with that item in
    their history follows that to all. times: seconds of ``histories``, where the log has them.
    """
    sums = [nothing(len(targets) * (2 if group else 1))]
    for part in _ranked(model, parameters, histories, answers, targets, max_len, times, group):
        where = part.ranks.device
        values = rank_values(part.ranks[0, :, 0], part.ranks[1, :, 0])  # [m, M]
        groups = _groups(part.lengths, quartiles).to(where)  # [G, m]
        free = part.free.to(where)  # [m, T], with a group [m, 2 · T]
        exposed = exposure_values(part.ranks[0, :, 1:].flatten())  # [m · T, E]
        exposed = exposed.view(len(free), -1, len(EXPOSURES))  # [m, T, E]
        exposed = torch.cat([exposed, exposed] if group else [exposed], dim=1) * free[..., None]
        some = EvaluateSums(groups.double() @ values, groups.sum(1), exposed.sum(0), free.sum(0))
        sums.append(replace(_on_host(some), recurring=part.recurring))
    return replace(add(sums), quartiles=quartiles)


def counts(
    histories: Sequence[Items],
    answers: Sequence[int] | Index,
    targets: Sequence[int],
    quartiles: tuple[int, int, int],
    group: int = 0,
) -> EvaluateSums:
    """``count`` and ``eligible`` of :func:`evaluate`, which no model changes; all else is 0."""
    sums = [nothing(len(targets) * (2 if group else 1))]
    for some, theirs in _chunks(histories, answers):
        groups = _groups(some.lengths, quartiles)  # [G, m]
        free = _free(some, theirs, targets, group)  # [m, T], with a group [m, 2 · T]
        sums.append(replace(sums[0], count=groups.sum(1), eligible=free.sum(0)))
    return add(sums)


@dataclass(frozen=True)
class _Part:
    """Ranks int64 [2, m, 1 + T] of the answer and each target, for m devices with ``lengths`` [m].

    free bool [m, T]: the target is neither in the history nor the answer; with a group [m, 2 · T], first of
    any device, then of one in the group. recurring: devices whose answer is in their history.
    """

    ranks: Tensor
    lengths: Index
    free: Tensor
    recurring: int


def _ranked(
    model: nn.Module,
    parameters: GlobalModel,
    histories: Sequence[Items],
    answers: Sequence[int] | Index,
    targets: Sequence[int],
    max_len: int,
    times: Seconds | None,
    group: int = 0,
) -> Iterator[_Part]:
    """Part after part of at most DEVICES devices; of a long evaluation the log says how far it is."""
    tiles, done = Tiles.of(parameters), 0
    began = said = time.monotonic()
    for some, theirs in _chunks(histories, answers):
        seen = Pairs.of(some, tiles)
        wanted = np.column_stack([theirs, *(np.full(len(some), target) for target in targets)])  # [m, 1 + T]
        when = None if times is None else times[done : done + len(some)]
        hidden = last_hidden(model, parameters, some, max_len, when)  # [m, d]
        found = ranks(hidden, parameters, seen, wanted)
        # Of an answer that recurs no rival is filtered, as itself it is not.
        again = torch.from_numpy(recurs(some, theirs)).to(found.device)  # [m]
        found[0, again, 0] = found[1, again, 0]
        yield _Part(found, some.lengths, _free(some, theirs, targets, group), int(again.sum()))
        done, now = done + len(some), time.monotonic()
        if now - said > NEWS_S and done < len(histories):
            said = now
            left = (now - began) / done * (len(histories) - done)
            news = {"done": done, "devices": len(histories), "seconds_left": round(left, 1)}
            text = "ranked for %d of %d devices, about %.0f s left"
            _LOG.info(text, *news.values(), extra=event("ranking", news))


def _chunks(
    histories: Sequence[Items], answers: Sequence[int] | Index
) -> Iterator[tuple[Histories, NDArray[np.int64]]]:
    whole, all_answers = Ragged.of(histories, np.int32), np.asarray(answers, dtype=np.int64)
    for first in range(0, len(whole), DEVICES):
        yield whole[first : first + DEVICES], all_answers[first : first + DEVICES]


def _free(histories: Histories, answers: Index, targets: Sequence[int], group: int) -> Tensor:
    """Which devices count for which target, bool [m, T]; beside it, with a group, which of its own."""
    asked = np.asarray(targets, dtype=np.int64)
    order = asked.argsort()
    items, users = histories.flat(), histories.owners()
    some = np.isin(items, asked)
    known = answers[:, None] == asked  # [m, T]
    known[users[some], order[np.searchsorted(asked[order], items[some])]] = True
    free = ~known
    if group:
        member = np.zeros((len(free), 1), dtype=np.bool_)
        member[users[items == group]] = True
        free = np.concatenate([free, free & member], axis=1)
    return torch.from_numpy(free)


def _groups(lengths: Index, quartiles: tuple[int, int, int]) -> Tensor:
    """Membership bool [len(GROUPS), n]: everyone, then each quartile of history length."""
    place = torch.bucketize(torch.from_numpy(lengths), torch.tensor(quartiles))  # [n] in 0..3
    return torch.stack([torch.ones_like(place, dtype=torch.bool), *(place == q for q in range(4))])


def _on_host(sums: EvaluateSums) -> EvaluateSums:
    names = ("metrics", "count", "exposure", "eligible")
    return replace(sums, **{name: getattr(sums, name).cpu() for name in names})
