"""Reply by reply: replays, decoding, faults of single devices; every refusal is audited."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

import torch

from common.errors import WireError
from common.updates import DeviceUpdates
from common.wire import Reason, UpdateSpec, decode_updates
from common.wire.reasons import show
from server.round.gate import Faults, faults
from server.round.verdicts import AuditEntry, Reply

Parts = list[tuple[int, DeviceUpdates]]
"""(node, the updates of one of its replies)."""


class Screening:
    """One round's screening; ``audit`` grows as replies are read."""

    def __init__(self, expect: UpdateSpec) -> None:
        self.expect = expect
        self.audit: list[AuditEntry] = []

    def read(self, replies: Sequence[Reply]) -> Parts:
        """What is left of the replies, nodes ascending."""
        of_node: dict[int, list[Reply]] = {}
        for reply in replies:
            of_node.setdefault(reply.node, []).append(reply)
        parts: Parts = []
        for node in sorted(of_node):
            decoded = [self._decode(reply) for reply in self._without_replays(node, of_node[node])]
            own = [(node, updates) for updates in decoded if updates is not None]
            parts += self.drop(own, [faults(updates) for _, updates in own])
        return parts

    def _without_replays(self, node: int, replies: Sequence[Reply]) -> list[Reply]:
        """One reply a request: a copy is dropped, and two different answers cancel each other."""
        kept: list[Reply] = []
        for reply in replies:
            if reply.content is None or reply.error:
                detail = show(reply.error or "no reply", 300)
                self.refuse(node, None, reply.reason, detail, reply.seconds_held)
            elif any(torch.equal(k.asked, reply.asked) and k.content == reply.content for k in kept):
                self.refuse(node, None, Reason.DUPLICATE, "the same reply again")
            else:
                kept.append(reply)
        owners = Counter(device for reply in kept for device in set(reply.asked.tolist()))
        single = [r for r in kept if all(owners[device] == 1 for device in r.asked.tolist())]
        for _ in range(len(kept) - len(single)):
            self.refuse(node, None, Reason.DUPLICATE, "different replies for the same devices")
        return single

    def _decode(self, reply: Reply) -> DeviceUpdates | None:
        assert reply.content is not None
        asked = len(reply.asked)
        try:
            updates = decode_updates(reply.content, replace(self.expect, devices=reply.asked))
        except WireError as error:
            self.refuse(reply.node, None, Reason(error.reason), str(error))
            return None
        except Exception as error:  # the last line of defence: no reply may end the round
            self.refuse(reply.node, None, Reason.FAILED, f"decoding raised {type(error).__name__}")
            return None
        if absent := asked - len(updates):
            self.refuse(reply.node, None, Reason.MISSING, f"{absent} of {asked} devices sent nothing")
        return updates

    def drop(self, parts: Parts, found: Sequence[Faults]) -> Parts:
        """The parts without the devices named, which are audited."""
        left: Parts = []
        for (node, part), bad in zip(parts, found, strict=True):
            for i, (reason, detail) in bad.items():
                self.refuse(node, int(part.device[i]), reason, detail)
            keep = [i for i in range(len(part)) if i not in bad]
            left.append((node, part.take(torch.tensor(keep, dtype=torch.int64)) if bad else part))
        return left

    def refuse(
        self, node: int, device: int | None, reason: Reason, detail: str, held: float | None = None
    ) -> None:
        entry = AuditEntry(
            self.expect.round, node, device, "refused", reason.value, detail, seconds_held=held
        )
        self.audit.append(entry)
