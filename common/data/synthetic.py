"""A made-up log with an order worth learning: instant, seeded, no download."""

from __future__ import annotations

import numpy as np
import polars as pl
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from common.data.build import build
from common.data.synthetic_large import LargeRecipe, large
from common.data.types import Dataset
from common.errors import ConfigError
from common.explain import problems

DESCRIPTION = "seeded Markov chain; data.path: devices=200,items=120; of any size with interactions=1000000"


LIKING = 50.0
"""How much more a user draws items of a kind that it likes."""


class Recipe(BaseModel):
    """How the log is drawn; written ``devices=200,items=120`` in ``data.path``."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    devices: int = Field(200, ge=1, le=10_000_000)
    items: int = Field(120, ge=20, le=10_000_000)
    length: int = Field(20, ge=3, description="mean history length; at most half the catalogue")
    order: float = Field(0.8, ge=0, le=1, description="share of steps that follow the chain")
    seed: int = Field(0, ge=0, lt=2**63)
    tastes: int = Field(
        0, ge=0, description="kinds of items, of which a user likes two; 0: users differ in nothing"
    )

    @model_validator(mode="after")
    def _fits(self) -> Recipe:
        if self.length * 2 > self.items:
            raise ValueError("length may be at most half of items")
        if self.tastes * 2 > self.items:
            raise ValueError("tastes may be at most half of items")
        return self


def recipe(text: str) -> Recipe | LargeRecipe:
    """Read ``KEY=VALUE,…``, with ``interactions`` a large log; raises ConfigError that lists the keys."""
    pairs = [part.partition("=") for part in text.split(",") if part.strip()]
    given = {key.strip(): value.strip() for key, _, value in pairs}
    kind = LargeRecipe if "interactions" in given else Recipe
    try:
        return kind.model_validate(given)
    except ValidationError as error:
        told = "; ".join(problems(kind, error, given))
        keys = ", ".join(kind.model_fields)
        raise ConfigError(f"data.path: synthetic {text!r}: {told}; expected KEY=VALUE,… of {keys}") from error


def generate(what: Recipe | LargeRecipe | None = None) -> Dataset:
    """Draw histories without repeats from a sparse Markov chain with a popular head.

    Every item has three usual successors (.6, .3, .1). A step follows the chain with probability ``order``
    and otherwise, or where all successors are seen, draws from a Zipf law over the unseen items. What comes
    next thus depends on the last item, and popularity alone predicts little.

    With ``tastes`` every item is of one kind, and a user's steps beside the chain are ``LIKING`` times as
    likely to an item of the two kinds that the user likes. What comes next then depends on the whole history:
    who reads the last item alone, as Markov-1 does, knows one kind at most.
    """
    if isinstance(what, LargeRecipe):
        return large(what)
    what = what or Recipe()
    rng = np.random.default_rng(what.seed)
    successors = np.stack([rng.choice(what.items, 3, replace=False) for _ in range(what.items)])
    popularity = rng.permutation(1.0 / np.arange(1, what.items + 1))
    kinds = rng.permutation(what.items) % what.tastes if what.tastes else None
    users: list[int] = []
    items: list[int] = []
    times: list[float] = []
    for user in range(what.devices):
        length = int(np.clip(rng.poisson(what.length), 3, what.items))
        liked = popularity
        if kinds is not None:
            own = np.isin(kinds, rng.choice(what.tastes, min(2, what.tastes), replace=False))
            liked = popularity * np.where(own, LIKING, 1.0)
        history = _walk(rng, successors, liked, length, what.order)
        users += [user + 1] * length
        items += history
        times += np.cumsum(rng.integers(1, 3600, length)).astype(float).tolist()
    log = pl.DataFrame({"user": users, "item": items, "time": times})
    log = log.with_columns(pl.col("user", "item").cast(pl.String))
    return build("synthetic", log, catalogue=[str(i + 1) for i in range(what.items)], source="generated")


def _walk(
    rng: np.random.Generator,
    successors: NDArray[np.int64],
    popularity: NDArray[np.float64],
    length: int,
    order: float,
) -> list[int]:
    """Item numbers from 1."""
    left = popularity.copy()
    history: list[int] = []
    while len(history) < length:
        item = -1
        if history and rng.random() < order:
            item = int(successors[history[-1], rng.choice(3, p=(0.6, 0.3, 0.1))])
        if item < 0 or left[item] == 0:
            item = int(rng.choice(len(left), p=left / left.sum()))
        left[item] = 0
        history.append(item)
    return [item + 1 for item in history]
