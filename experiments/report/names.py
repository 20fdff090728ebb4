"""What cells are called: the condition of a run, and names from the columns that vary over a grid."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

from attacks import ATTACKS
from experiments.report.reading import Cell

CLEAN = ("control", "none")
"""No attack. `control` first: there a clean run is measured on the users of the attacked ones."""
SECTION_COLUMNS = ("rounds", "devices_per_round")
SECTION_SETTINGS = ("data.", "model.", "train.", "eval.")


@dataclass(frozen=True, order=True)
class Condition:
    """An attack (with whatever of its settings varies) and the share of malicious devices.

    protocol: what varies of when the malicious devices are hostile, of whatever attack; part of the name too.
    """

    attack: str
    share: float | None
    protocol: str = field(default="", compare=False)

    @property
    def kind(self) -> str:
        """The attack's name in the registry."""
        return re.split(r"[ (]", self.attack, maxsplit=1)[0]

    @property
    def clean(self) -> bool:
        return self.kind in CLEAN

    @property
    def targeted(self) -> bool:
        """Whether the attack promotes an item; an attack that is not in the registry may."""
        known = ATTACKS.get(self.kind)
        return known is None or known.goal == "targeted"


def percent(share: float) -> str:
    return f"{100 * share:g} %"


@dataclass(frozen=True)
class Names:
    """Which columns vary over the grid, and the names that cells get from them."""

    columns: frozenset[str]
    settings: frozenset[str]

    @classmethod
    def of(cls, cells: Iterable[Cell]) -> Names:
        cells = list(cells)
        names = ("rounds", "devices_per_round", "start_round", "aim")
        settings = {name for cell in cells for name in cell.settings}
        return cls(
            frozenset(n for n in names if len({c.label(n) for c in cells}) > 1),
            frozenset(n for n in settings if len({c.settings.get(n, "") for c in cells}) > 1),
        )

    def section(self, cell: Cell) -> tuple[str, str, str]:
        """(data, model, settings of the protocol that vary)."""
        more = [f"{n}={cell.label(n)}" for n in SECTION_COLUMNS if n in self.columns]
        more += self._varying(cell, lambda name: name.startswith(SECTION_SETTINGS))
        return cell.label("data"), cell.label("model"), ", ".join(more)

    def strategy(self, cell: Cell) -> str:
        """The grid's name of the strategy, else ``rule + pre``; and the settings of it that vary."""
        named = cell.label("rule") != ""  # then the column `aggregator` is the whole name
        rule = " + ".join([cell.label("aggregator"), *([] if named else pre(cell))])
        other = (*SECTION_SETTINGS, "attack.")
        more = self._varying(cell, lambda name: not name.startswith(other))
        return f"{rule} ({', '.join(more)})" if more else rule

    def condition(self, cell: Cell) -> Condition:
        attack = cell.label("attack")
        share = cell.label("malicious_share")
        aim = [cell.label("aim")] if "aim" in self.columns and cell.label("aim") else []
        protocol = [] if attack in CLEAN else self.protocol(cell)
        own = [] if attack in CLEAN else self._varying(cell, lambda name: name.startswith("attack.params"))
        more = [*aim, *protocol, *own]  # exposure without an attack is by target too
        name = f"{attack} ({', '.join(more)})" if more else attack
        return Condition(name, float(share) if share and attack != "none" else None, ", ".join(protocol))

    def protocol(self, cell: Cell) -> list[str]:
        """What varies of the settings that every attack has: from which round on, in which rounds."""
        more = [f"from {cell.label('start_round')}"] if "start_round" in self.columns else []
        params = "attack.params"
        return more + self._varying(cell, lambda n: n.startswith("attack.") and not n.startswith(params))

    def _varying(self, cell: Cell, mine: Callable[[str], bool]) -> list[str]:
        found = sorted(n for n in self.settings if mine(n) and cell.settings.get(n))
        return [f"{n.partition('.')[2]}={cell.settings[n]}" for n in found]


def pre(cell: Cell) -> Sequence[str]:
    """Names of the pre-aggregators: written ``nnm``, ``nnm+clip``, ``nnm,clip`` or as a YAML list."""
    text = cell.label("pre")
    return [] if text.lower() == "none" else [p for p in re.split(r"[\s,+\[\]'\"]+", text) if p]


def slug(text: str) -> str:
    """A file name of the text; letters of all scripts stay."""
    return re.sub(r"[^\w.-]+", "-", text.replace("%", "pct")).strip("-.") or "all"
