"""Admission: from the raw replies of a round to updates that a rule may see, with an audit entry for each.

Pure, and total: whatever a node sends costs that node (or that device) this round, never the round.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
from flwr.app import RecordDict
from torch import Tensor

from common.device import CPU
from common.errors import WireError
from common.updates import DeviceUpdates, merged, onto
from common.wire import Reason, UpdateSpec, decode_updates
from common.wire.reasons import show
from common.wire.replies import Reply
from server.aggregators.memory import Identity, signed
from server.round.faults import NOTHING, Faults, faults, thin
from server.round.room import Room
from server.round.verdicts import LEFT_OUT, Admitted, Audit, AuditEntry, Verdict

__all__ = ["Admitted", "AuditEntry", "Reply", "admit", "with_root"]

Parts = list[tuple[int, DeviceUpdates]]
"""(node, the updates of one of its replies)."""

NOBODY = Identity(torch.zeros(0, 2, dtype=torch.int64))


def admit(
    replies: Sequence[Reply],
    expect: UpdateSpec,
    max_history: int,
    device: torch.device = CPU,
    consume: bool = False,
) -> Admitted:
    """Decode and judge all replies of a round on ``device``; ``expect.devices`` is each reply's ``asked``.

    History claims are cut to [1, max_history]. How many devices a node may stand for is decided where they
    are drawn: a device that was not asked of this node is refused. consume: the content of a reply is emptied
    once it is read, so that its bytes and its values are not both there until the end of the round.
    Never raises for what a node sent.
    """
    screening = Screening(expect, device, consume)
    parts = screening.read(replies)
    if expect.negatives != "device":
        parts = screening.drop(parts, thin([part for _, part in parts]))
    nodes, kept = [node for node, part in parts if len(part)], [prune(part) for _, part in parts if len(part)]
    del parts
    if not kept:
        return Admitted(None, NOBODY, Audit(expect.round, entries=tuple(screening.audit)))
    sizes = torch.tensor([len(part) for part in kept])
    node = torch.repeat_interleave(signed([(node, 0) for node in nodes])[:, 0], sizes)  # [n]
    claimed = torch.cat([part.device for part in kept]).cpu()  # [n]
    keys = [node.numpy().astype(np.uint64), claimed.numpy()]
    if expect.items.dim() == 2:  # the devices of a slice side by side
        keys.append(torch.cat([part.slice for part in kept if part.slice is not None]).numpy())
    order = torch.from_numpy(np.lexsort(keys))  # [n]
    updates = merged(kept, order) if screening.room is None else screening.room.joined(kept, order)
    identity = Identity(torch.stack([node[order], claimed[order]], dim=1))
    counted = updates.history.clamp(1, max_history)
    clipped, entries = _clipped(expect.round, identity, updates.history, counted)
    audit = Audit(expect.round, identity, ~clipped, (*screening.audit, *entries))
    return Admitted(replace(updates, history=counted), identity, audit)


def with_root(admitted: Admitted, trusted: Admitted) -> Admitted:
    """``admitted`` with the updates of trusted nodes as its root; those left out are in its audit."""
    out = [entry for entry in trusted.audit.entries if entry.verdict in LEFT_OUT]
    audit = replace(admitted.audit, entries=(*admitted.audit.entries, *out))
    if admitted.updates is None or trusted.updates is None:
        return replace(admitted, audit=audit)
    return replace(admitted, audit=audit, root=onto(trusted.updates, admitted.updates.items))


def _clipped(
    round_: int, identity: Identity, claimed: Tensor, counted: Tensor
) -> tuple[Tensor, list[AuditEntry]]:
    """Whose history claim was cut, bool [n], and an entry for each of them."""
    clipped = claimed != counted
    which = identity.take(clipped)
    columns = zip(which, claimed[clipped].tolist(), counted[clipped].tolist(), strict=True)
    return clipped, [
        AuditEntry(
            round_,
            node,
            device,
            "clipped",
            Reason.HISTORY.value,
            f"claims {before} interactions, counted as {after}",
        )
        for (node, device), before, after in columns
    ]


UNIQUE = "meta", "unique"


def _alike(one: RecordDict | None, other: RecordDict | None) -> bool:
    """Whether two replies say the same; what makes a message unique says nothing."""
    if one is None or other is None:
        return one is other
    first, second = (
        {(name, key): value for name, part in record.items() for key, value in part.items()}
        for record in (one, other)
    )
    return {**first, UNIQUE: ""} == {**second, UNIQUE: ""}


class Screening:
    """One round's screening; ``audit`` grows as replies are read."""

    def __init__(self, expect: UpdateSpec, device: torch.device, consume: bool = False) -> None:
        self.expect, self.device, self.consume = expect, device, consume
        self.room: Room | None = None
        self.audit: list[AuditEntry] = []

    def read(self, replies: Sequence[Reply]) -> Parts:
        """What is left of the replies, nodes ascending."""
        of_node: dict[int, list[Reply]] = {}
        for reply in replies:
            of_node.setdefault(reply.node, []).append(reply)
        parts: Parts = []
        for node in sorted(of_node):
            kept = self._without_replays(node, of_node[node])
            if len(of_node) == 1 < len(kept) and self._in_order():
                self.room = Room.of(self.expect, sum(len(reply.asked) for reply in kept), self.device)
            for reply in kept:
                updates = self._decode(reply)
                if self.consume and reply.content is not None:
                    reply.content.clear()
                if updates is not None:
                    updates = self._without(node, updates, faults(updates))
                    if self.room is not None:
                        self.room.used += len(updates)
                    parts.append((node, updates))
        return parts

    def _in_order(self) -> bool:
        """Whether devices of one node come in the order and with the rows in which the round has them."""
        return self.expect.negatives != "device" and self.expect.items.dim() == 1

    def _without_replays(self, node: int, replies: Sequence[Reply]) -> list[Reply]:
        """One reply a request: a copy is dropped, and two different answers cancel each other."""
        kept: list[Reply] = []
        for reply in replies:
            if reply.content is None or reply.error:
                detail = show(reply.error or "no reply", 300)
                self.refuse(node, None, reply.reason, detail, reply.seconds_held)
            elif any(torch.equal(k.asked, reply.asked) and _alike(k.content, reply.content) for k in kept):
                self.refuse(node, None, Reason.DUPLICATE, "the same reply again")
            else:
                kept.append(reply)
        if len(kept) < 2:
            return kept
        asked, owners = torch.unique(
            torch.cat([torch.unique(reply.asked) for reply in kept]), return_counts=True
        )
        twice = asked[owners > 1]
        single = [reply for reply in kept if not bool(torch.isin(reply.asked, twice).any())]
        for _ in range(len(kept) - len(single)):
            self.refuse(node, None, Reason.DUPLICATE, "different replies for the same devices")
        return single

    def _decode(self, reply: Reply) -> DeviceUpdates | None:
        assert reply.content is not None
        asked = len(reply.asked)
        try:
            expect = replace(self.expect, devices=reply.asked)
            free = None if self.room is None else self.room.free()
            updates = decode_updates(reply.content, expect, self.device, free)
        except WireError as error:
            self.refuse(reply.node, None, Reason(error.reason), str(error))
            return None
        except Exception as error:  # the last line of defence: no reply may end the round
            self.refuse(reply.node, None, Reason.FAILED, f"decoding raised {type(error).__name__}")
            return None
        idle = [] if updates.idle is None else updates.idle.tolist()
        for device in idle:
            self.refuse(reply.node, device, Reason.IDLE, NOTHING)
        if absent := asked - len(updates) - len(idle):
            self.refuse(reply.node, None, Reason.MISSING, f"{absent} of {asked} devices sent nothing")
        return updates

    def drop(self, parts: Parts, found: Sequence[Faults]) -> Parts:
        """``parts``, emptied one by one, without the devices named, which are audited."""
        left: Parts = []
        for bad in found:
            node, part = parts.pop(0)
            left.append((node, self._without(node, part, bad)))
        return left

    def _without(self, node: int, part: DeviceUpdates, bad: Faults) -> DeviceUpdates:
        if not bad:
            return part
        numbers = part.device.tolist()
        for i, (reason, detail) in bad.items():
            self.refuse(node, numbers[i], reason, detail)
        keep = torch.ones(len(part), dtype=torch.bool)
        keep[list(bad)] = False
        index = keep.nonzero().squeeze(1)
        return part.take(index.to(part.rows.device)) if self.room is None else self.room.keep(part, index)

    def refuse(
        self, node: int, device: int | None, reason: Reason, detail: str, held: float | None = None
    ) -> None:
        verdict: Verdict = "idle" if reason is Reason.IDLE else "refused"
        entry = AuditEntry(self.expect.round, node, device, verdict, reason.value, detail, seconds_held=held)
        self.audit.append(entry)


def prune(updates: DeviceUpdates) -> DeviceUpdates:
    """Without the items that no device touched: a node cannot inflate the union of a round for free."""
    if updates.touched is None:
        return updates
    used = updates.touched.any(dim=0)  # [K]
    return replace(
        updates, items=updates.items[used], rows=updates.rows[:, used], touched=updates.touched[:, used]
    )
