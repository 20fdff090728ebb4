"""In how many rounds a device sent something: what the noise on its updates is worth depends on it."""

from __future__ import annotations

import json
from pathlib import Path

from common.errors import CheckpointError
from common.wire import Reason
from server.records.checkpoint import write_atomically

AUDIT = "audit.jsonl"
AGAIN = "state/again.json"
"""``rounds``: how many devices may have sent twice, those after a checkpoint that a run went back to.
``clean``: nothing was sent after the checkpoint that is there."""


def most_rounds(folder: Path) -> int:
    """At most so many rounds any one device sent something in, by the audit of the run in ``folder``.

    A reply that failed as a whole, or came too late, counts for all devices of its node. Rounds that ran
    again after an interruption count as often as devices may have answered them.
    """
    devices: dict[tuple[int, int], set[int]] = {}
    nodes: dict[int, set[int]] = {}
    with (folder / AUDIT).open(encoding="utf-8") as lines:
        for line in map(json.loads, lines):
            if line["device"] is not None:
                devices.setdefault((line["node"], line["device"]), set()).add(line["round"])
            elif "evaluation" not in line and line["reason"] != Reason.QUOTA.value:
                nodes.setdefault(line["node"], set()).add(line["round"])
    each = [rounds | nodes.get(node, set()) for (node, _), rounds in devices.items()]
    return max(map(len, [*each, *nodes.values()]), default=0) + _again(folder)[0]


def count_again(folder: Path, size: int) -> None:
    """Note the rounds after the first ``size`` bytes of the audit, before they are cut off.

    One more may have begun: devices answered it, and the server did not live to write it down.
    """
    rounds, clean = _again(folder)
    if not clean:
        with (folder / AUDIT).open("rb") as file:
            file.seek(size)
            rounds += len({number for line in file if (number := _training_round(line))}) + 1
    _write(folder, rounds, clean=False)


def stopped_clean(folder: Path) -> None:
    """Nothing was sent after the checkpoint that is there."""
    _write(folder, _again(folder)[0], clean=True)


def _write(folder: Path, rounds: int, clean: bool) -> None:
    write_atomically(folder / AGAIN, json.dumps({"rounds": rounds, "clean": clean}).encode())


def _again(folder: Path) -> tuple[int, bool]:
    path = folder / AGAIN
    if not path.exists():
        return 0, False
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        return int(found["rounds"]), bool(found["clean"])
    except (KeyError, TypeError, ValueError) as error:
        raise CheckpointError(f"{path} is damaged: {error!r}") from None


def _training_round(line: bytes) -> int:
    """Of a line of the audit; 0 for one about an evaluation, or half a line."""
    try:
        found = json.loads(line)
        return 0 if "evaluation" in found else int(found["round"])
    except (KeyError, TypeError, ValueError):
        return 0
