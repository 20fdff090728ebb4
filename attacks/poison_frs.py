"""PoisonFRS: enlarge the target's row into the direction of popular rows, with no data at all."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, cast

import torch
from flwr.app import ArrayRecord, ConfigRecord
from torch import Tensor

from attacks.base import Attack, View
from attacks.pushing import push
from common.updates import DeviceUpdates
from common.wire.arrays import as_record, pack, unpack

MEMORY = "poison_frs"


@dataclass(frozen=True)
class PoisonFrs(Attack):
    """w* = Λ · mean e_k of the ``popular`` items k with the smallest e_k·ē, ē the mean row; g_t ∝ w* − e_t.

    Yin et al. 2024 (doi 10.1145/3589334.3645492): negatives drag the many unpopular rows into one
    direction, which thus rules the mean; popular rows stand across. Their mean is frozen in the node's
    first round of attack (``attack.start_round``: 50 in the paper, since a table that has not learned
    shows nothing). Λ starts at ``scale`` and doubles up to ``largest`` in each round that trains t, until
    the distance of e_t to its last goal has shrunk twice; each target has its own. g_t := boost · c_u ·
    (w* − e_t)/‖w* − e_t‖, c_u the size of one honest interaction. The paper hides the row among rows that
    drifted and adds noise; with a slice every row is uploaded, so the others stay honest. O(N·d).
    """

    popular: int = 5
    scale: float = 10.0
    largest: float = 200.0
    boost: float = 10.0

    kind: ClassVar[str] = "model"
    goal: ClassVar[str] = "targeted"
    knowledge: ClassVar[str] = "global models of several rounds"
    reference: ClassVar[str] = "doi 10.1145/3589334.3645492"

    def __post_init__(self) -> None:
        if self.popular < 1:
            raise ValueError(f"popular is {self.popular}; expected at least 1 item")
        if not 0 < self.scale <= self.largest:
            raise ValueError(f"scale is {self.scale}; expected a number above 0, at most largest")

    def best(self, view: View) -> Tensor:
        """The items with the smallest inner product with the mean row, smallest first: int64 [k]."""
        table = view.task.model.embeddings
        product = table @ table[1:].mean(0)  # [N + 1]
        product[[0, *view.targets]] = torch.inf
        return product.argsort(stable=True)[: min(self.popular, len(table) - 1 - len(view.targets))]

    def poison(self, updates: DeviceUpdates, view: View) -> DeviceUpdates:
        famous = self._frozen(view)  # [d]
        slots = view.slots()
        if not slots:
            return updates
        aims, rows = view.aims(), view.aimed()  # [m], [m, d]
        scales = {target: self._scale(target, rows[aims.index(target)], famous, view) for target in aims}
        goals = rows.new_tensor([scales[target] for target in aims])[:, None] * famous  # [m, d]
        return push(updates, slots, goals - rows, self.boost)

    def _frozen(self, view: View) -> Tensor:
        """Mean of the popular rows as they were in the first round of attack: [d]."""
        table = view.task.model.embeddings
        if MEMORY not in view.memory:
            mean = table[self.best(view)].mean(0)
            view.memory[MEMORY] = as_record({"mean": pack(mean, "float32")})
        record = cast(ArrayRecord, view.memory[MEMORY])
        return unpack(record["mean"], "mean", "float32", (table.shape[1],), table.device)

    def _scale(self, target: int, row: Tensor, famous: Tensor, view: View) -> float:
        """Λ of ``target`` in this round, from its distances to the goals that it had before.

        A round may ask more than once, by slices or by messages: it has one Λ, and counts once.
        """
        key = f"{MEMORY}.{target}"
        kept = cast(ConfigRecord, view.memory.get(key, ConfigRecord({"scale": self.scale, "shrunk": 0})))
        scale, shrunk = cast(float, kept["scale"]), cast(int, kept["shrunk"])
        if kept.get("round") == view.task.round:
            return scale
        if "distance" in kept and shrunk < 2:
            shrunk += int(_distance(row, scale * famous) < cast(float, kept["distance"]))
            if shrunk < 2:
                scale = min(2 * scale, self.largest)
        distance = _distance(row, scale * famous)
        view.memory[key] = ConfigRecord(
            {"scale": scale, "shrunk": shrunk, "distance": distance, "round": view.task.round}
        )
        return scale


def _distance(row: Tensor, goal: Tensor) -> float:
    return float((goal - row).norm())
