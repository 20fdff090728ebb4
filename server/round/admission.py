"""Admission: from the raw replies of a round to updates that a rule may see, with an audit entry for each.

Pure, and total: whatever a node sends costs that node (or that device) this round, never the round.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor

from common.updates import concatenate, onto
from common.wire import Reason, UpdateSpec
from server.round.gate import prune, thin
from server.round.screening import Screening
from server.round.verdicts import Admitted, AuditEntry, Reply

__all__ = ["Admitted", "AuditEntry", "Reply", "admit", "with_root"]

Identity = tuple[tuple[int, int], ...]


def admit(replies: Sequence[Reply], expect: UpdateSpec, max_history: int) -> Admitted:
    """Decode and judge all replies of a round; ``expect.devices`` is replaced by each reply's ``asked``.

    History claims are cut to [1, max_history]. How many devices a node may stand for is decided where they
    are drawn: a device that was not asked of this node is refused.
    Never raises for what a node sent.
    """
    screening = Screening(expect)
    parts = screening.read(replies)
    if expect.negatives != "device":
        parts = screening.drop(parts, thin([part for _, part in parts]))
    parts = [(node, prune(part)) for node, part in parts if len(part)]
    if not parts:
        return Admitted(None, (), _in_order(screening.audit))
    updates = concatenate([part for _, part in parts])
    numbers = [(int(device), node) for node, part in parts for device in part.device]
    order = sorted(range(len(numbers)), key=numbers.__getitem__)
    if order != list(range(len(order))):  # the copy is worth avoiding: one node often is the round
        updates = updates.take(torch.tensor(order))
    identity = tuple((node, device) for device, node in sorted(numbers))
    counted = updates.history.clamp(1, max_history)
    accepted = _accepted(expect.round, identity, updates.history, counted)
    return Admitted(replace(updates, history=counted), identity, _in_order([*screening.audit, *accepted]))


def with_root(admitted: Admitted, trusted: Admitted) -> Admitted:
    """``admitted`` with the updates of trusted nodes as its root; what of them was refused is audited too."""
    refused = [entry for entry in trusted.audit if entry.verdict == "refused"]
    audit = _in_order([*admitted.audit, *refused])
    if admitted.updates is None or trusted.updates is None:
        return replace(admitted, audit=audit)
    return replace(admitted, audit=audit, root=onto(trusted.updates, admitted.updates.items))


def _accepted(round_: int, identity: Identity, claimed: Tensor, counted: Tensor) -> list[AuditEntry]:
    entries = []
    for (node, device), before, after in zip(identity, claimed.tolist(), counted.tolist(), strict=True):
        entry = AuditEntry(round_, node, device, "admitted")
        if before != after:
            detail = f"claims {before} interactions, counted as {after}"
            entry = replace(entry, verdict="clipped", reason=Reason.HISTORY.value, detail=detail)
        entries.append(entry)
    return entries


def _in_order(audit: Sequence[AuditEntry]) -> list[AuditEntry]:
    """By node, the reply as a whole before its devices: independent of the order of arrival."""
    return sorted(audit, key=lambda e: (e.node, -1 if e.device is None else e.device, e.reason, e.detail))
