"""Ranks over a whole catalogue: a block of devices meets a block of items, and only counts are kept."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from client.batch import Histories
from common.data.ragged import Index
from common.tasks import GlobalModel

USERS, ITEMS = 512, 2048
"""A block of scores on a CPU: 4 MiB, which stay in its cache; a catalogue of up to 4 · ITEMS is one block."""

ON_A_CARD = 4096
"""Devices and items of a block elsewhere: 64 MiB, so that kernels are worth their launch."""


@dataclass(frozen=True)
class Tiles:
    """How n devices and N + 1 items are cut: ``users`` by ``width`` scores are held at once."""

    users: int
    width: int
    size: int

    @staticmethod
    def of(model: GlobalModel) -> Tiles:
        """Tiles for the catalogue of ``model``, by the kind of its device."""
        size = model.num_items + 1
        if model.table.device.type != "cpu":
            return Tiles(ON_A_CARD, min(ON_A_CARD, size), size)
        if size <= 4 * ITEMS:
            return Tiles(max(1, USERS * ITEMS // size), size, size)
        return Tiles(USERS, ITEMS, size)

    @property
    def starts(self) -> Index:
        """Where each block of items begins, and the end of the last: int64 [blocks + 1]."""
        return np.append(np.arange(0, self.size, self.width), self.size)


@dataclass(frozen=True)
class Pairs:
    """The different (device, item) pairs of n histories, by block of devices, then by item.

    user, item  int64 [p]; bounds  [blocks of devices, blocks of items + 1]: where in them each tile begins
    """

    user: NDArray[np.int64]
    item: NDArray[np.int64]
    bounds: NDArray[np.int64]

    @staticmethod
    def of(histories: Histories, tiles: Tiles) -> Pairs:
        block, place = np.divmod(histories.owners(), tiles.users)
        row = tiles.size * tiles.users  # keys of one block of devices
        key = np.sort(block * row + histories.flat().astype(np.int64) * tiles.users + place)
        key = key[np.append(True, key[1:] != key[:-1])[: len(key)]]  # np.unique hashes, which is slow here
        blocks = np.arange(-(-len(histories) // tiles.users))
        edges = blocks[:, None] * row + tiles.starts * tiles.users
        block, rest = np.divmod(key, row)
        item, place = np.divmod(rest, tiles.users)
        return Pairs(block * tiles.users + place, item, np.searchsorted(key, edges))


def ranks(hidden: Tensor, model: GlobalModel, seen: Pairs, wanted: Index) -> Tensor:
    """0-based ranks int64 [2, n, Q] of the items ``wanted`` int64 [n, Q]: seen items filtered, and not.

    rank = the number of items j with s_j > s_i, or s_j = s_i and j < i, s_j = h·e_j of ``hidden`` [n, d] and
    the embeddings of ``model``: ties go to the lower item number. Seen ones are counted with the others and
    taken off again. A score that is not finite ranks last; item 0 never competes.
    """
    tiles, where = Tiles.of(model), hidden.device
    found = torch.empty(2, *wanted.shape, dtype=torch.int64, device=where)
    user, item = (torch.from_numpy(part).to(where) for part in (seen.user, seen.item))
    for block, first in enumerate(range(0, len(hidden), tiles.users)):
        rows = slice(first, first + tiles.users)
        ahead = _Ahead(hidden[rows], model, wanted[rows], tiles)
        edges = seen.bounds[block].tolist()
        for number, (low, high) in enumerate(pairwise(edges)):
            ahead.meet(number, user[low:high] - first, item[low:high])
        found[:, rows] = ahead.ranks()
    return found


def product(hidden: Tensor, rows: Tensor) -> Tensor:
    """Scores [m, w] of hidden states [m, d] and rows [w, d]."""
    return hidden @ rows.T


class _Ahead:
    """How many items are ahead of each wanted one of m devices, block of items after block."""

    def __init__(self, hidden: Tensor, model: GlobalModel, wanted: Index, tiles: Tiles) -> None:
        self.hidden, self.model, self.tiles = hidden, model, tiles
        self.wanted = torch.from_numpy(wanted).to(hidden.device)  # [m, Q]
        self.all, self.seen = torch.zeros_like(self.wanted), torch.zeros_like(self.wanted)
        # Which devices want an item of which block: only there can numbers decide a tie.
        block = wanted // tiles.width  # [m, Q]
        order = block.argsort(axis=0, kind="stable")
        blocks = np.arange(len(tiles.starts))
        self.edges = [np.searchsorted(block[order[:, q], q], blocks).tolist() for q in range(block.shape[1])]
        self.order = torch.from_numpy(order).to(hidden.device)
        self.whole = tiles.width == tiles.size
        if not self.whole:
            self.own = self._own()

    def _own(self) -> Tensor:
        """The scores of the wanted items [m, Q], as the tiles have them to the last bit: the same product."""
        own = self.hidden.new_empty(self.wanted.shape)
        for first in range(0, len(self.hidden), self.tiles.width):
            some = self.wanted[first : first + self.tiles.width]  # [w, Q]
            for q in range(some.shape[1]):
                scores = self._scores(self.model.embed(some[:, q]))[first:]  # [m - first, w]
                own[first : first + len(some), q] = scores.diagonal()
        return own

    def _scores(self, rows: Tensor) -> Tensor:
        """[m, w] of w ≤ width rows, by a product that always has the same shape."""
        missing = self.tiles.width - len(rows)
        if missing:
            rows = torch.cat([rows, rows.new_zeros(missing, rows.shape[1])])
        return product(self.hidden, rows)[:, : self.tiles.width - missing]

    def meet(self, number: int, user: Tensor, item: Tensor) -> None:
        """Count in the items of block ``number``, of which ``user`` [p] have seen ``item`` [p]."""
        start, end = self.tiles.starts[number : number + 2].tolist()
        # A small catalogue is one block, which every block of devices meets: made once.
        block = self.model.embeddings if self.whole else self.model.block(start, end)  # [w, d]
        scores = self._scores(block)  # [m, w]
        if self.whole:
            self.own = scores.gather(1, self.wanted)
        if not start:
            scores[:, 0] = torch.nan  # ahead of nothing
        # s ≥ own is s > the number below own: one comparison serves where numbers are all lower, or higher.
        below = torch.nextafter(self.own, self.own.new_tensor(-torch.inf))
        bound = torch.where(self.wanted >= end, below, self.own)  # [m, Q]
        larger = torch.empty_like(scores)  # floats add up faster than bools, and exactly: w < 2^24
        items = torch.arange(start, end, device=scores.device)  # [w]
        for q, edges in enumerate(self.edges):
            torch.gt(scores, bound[:, q, None], out=larger)  # [m, w]
            self.all[:, q] += larger.sum(1).long()
            rows = self.order[edges[number] : edges[number + 1], q]  # [r]
            if len(rows):
                tied = (scores[rows] == self.own[rows, q, None]) & (items < self.wanted[rows, q, None])
                self.all[rows, q] += tied.sum(1)
        theirs, own = scores[user, item - start, None], self.own[user]  # [p, 1], [p, Q]
        ahead = (theirs > own) | ((theirs == own) & (item[:, None] < self.wanted[user]))  # [p, Q]
        self.seen.index_add_(0, user, ahead.long())

    def ranks(self) -> Tensor:
        """int64 [2, m, Q]: without the seen ones, and with them."""
        both = torch.stack([self.all - self.seen, self.all])
        return torch.where(torch.isfinite(self.own), both, self.tiles.size)
