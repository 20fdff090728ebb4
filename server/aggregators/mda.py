"""Minimum-diameter averaging."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor

from common.checks import count, one_of
from common.errors import RunError
from server.aggregators.base import GramRule, Round, State, Weighed
from server.aggregators.gram import squared_distances
from server.aggregators.subsets import Exhausted, clique


@dataclass(frozen=True)
class Mda(GramRule):
    """Mean of the n − f updates whose diameter max ‖u_i − u_j‖ is least.

    ``exact`` tries the distances that can be the diameter, by bisection: leaving f devices out so that no
    two others are further apart is a vertex cover of size f, found by branching in O(1.47^f) at worst. A
    distance that takes more than ``branches`` branches is a RunError. ``greedy`` takes, of the n balls made
    of a device and its n − f − 1 nearest, that of least diameter: at most twice the least. ``auto`` begins
    there, passes over the distances that take too long, and says in ``mda.exact`` whether there were any.
    Of several subsets of least diameter, devices closer to all the others are preferred.
    Complexity O(n²·P + n³), and O(n) a branch. Breakdown: needs n ≥ 2f + 1. Reference: arXiv 1905.03853.
    """

    name: ClassVar[str] = "mda"
    host: ClassVar[str] = "forbidden pairs [n, n]"
    search: Literal["auto", "exact", "greedy"] = "auto"
    branches: int = 20_000

    def __post_init__(self) -> None:
        one_of(search=(self.search, ("auto", "exact", "greedy")))
        count(1, branches=self.branches)

    def least(self, byzantine: int) -> int:
        return 2 * byzantine + 1

    def weigh(self, products: Tensor, state: State, round_: Round) -> Weighed:
        n = len(products)
        keep = n - round_.byzantine
        distances = squared_distances(products)
        order = distances.sum(dim=1).argsort(stable=True)  # the search prefers the front
        ranked = distances[order][:, order]
        chosen, exact = ball(ranked, keep), False
        if self.search != "greedy":
            chosen, exact = self._refined(ranked, chosen)
        weights = torch.zeros_like(products[0]).index_fill_(0, order[chosen], 1 / keep)
        figures = {"mda.diameter": float(diameter(ranked, chosen).sqrt()), "mda.exact": float(exact)}
        return Weighed(weights, state, figures)

    def _refined(self, distances: Tensor, found: Tensor) -> tuple[Tensor, bool]:
        """The subset of least diameter that the branches find, from ``found`` on; is it proved?"""
        n, keep, exact = len(distances), len(found), True
        least = distances.sort(dim=1).values[:, keep - 1].min()  # no ball of keep devices is smaller
        between = (distances >= least) & (distances < diameter(distances, found))
        tried = torch.unique(distances[between])  # sorted
        low, high = 0, len(tried)  # below low there is no subset; from high on there is
        while low < high:
            at = (low + high) // 2
            try:
                better = clique(distances <= tried[at], keep, self.branches)
            except Exhausted as error:
                if self.search == "exact":
                    raise RunError(
                        f"mda leaving out {n - keep} of {n} devices takes more than {self.branches} "
                        "branches; raise branches, or set search to auto or greedy"
                    ) from error
                better, exact = None, False
            if better is None:
                low = at + 1
            else:
                found, high = torch.tensor(better, device=distances.device), at
        return found, exact


def diameter(distances: Tensor, members: Tensor) -> Tensor:
    """max ‖u_i − u_j‖² over members [m] -> 0-d."""
    return distances[members][:, members].max()


def ball(distances: Tensor, keep: int) -> Tensor:
    """Of every device with its keep − 1 nearest, the set of least diameter -> [keep]."""
    own = distances.clone().fill_diagonal_(-1)  # the device itself first, even among equals
    near = own.sort(dim=1, stable=True).indices[:, :keep]  # [n, keep]
    widths = torch.stack([diameter(distances, members) for members in near])  # [n]
    return near[widths.argmin()]
