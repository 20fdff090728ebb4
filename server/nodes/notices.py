"""What enrolments had to be refused or cut: each is said once, and again when it changes."""

from __future__ import annotations

import logging
from collections.abc import Mapping

from torch import Tensor

from common.tasks import Enrolment
from common.wire import Reason
from server.nodes.claims import within
from server.round.verdicts import AuditEntry

_LOG = logging.getLogger(__name__)


class Notices:
    """Entries of the audit that wait to be written, and what each node was told last."""

    def __init__(self) -> None:
        self._entries: list[AuditEntry] = []
        self._cut: dict[int, int] = {}
        self._lost: dict[int, int] = {}

    def refuse(self, round_: int, node: int, reason: Reason, detail: str) -> None:
        """A refusal for the audit of the next round, and at once for who watches the server."""
        _LOG.warning("node %d %s", node, detail)
        self._entries.append(AuditEntry(max(round_, 1), node, None, "refused", reason.value, detail))

    def lost(self, node: int, before: Tensor, now: Tensor, round_: int) -> None:
        """Which of its devices a node came back without; before, now: their numbers, int64 [m], sorted."""
        gone = before[~within(before, now)]
        if len(gone) and self._lost.get(node) != len(gone):
            text = (
                f"has lost {len(gone)} of the {len(before)} devices that it came with, such as {int(gone[0])}"
            )
            self.refuse(round_, node, Reason.MISSING, text)
        self._lost[node] = len(gone)

    def cut(self, nodes: Mapping[int, Enrolment], allowance: int, round_: int) -> None:
        """Whose devices are more than one node may stand for."""
        for node, enrolment in nodes.items():
            claimed = len(enrolment.devices)
            counted = min(claimed, allowance)
            if counted < claimed and self._cut.get(node) != counted:
                text = f"claims {claimed} devices, cut to {counted} (strategy.quota)"
                self.refuse(round_, node, Reason.QUOTA, text)
            self._cut[node] = counted

    def forget(self, node: int) -> None:
        """A node that is gone for good."""
        self._cut.pop(node, None)
        self._lost.pop(node, None)

    def take(self) -> list[AuditEntry]:
        """The entries since the last call."""
        found, self._entries = self._entries, []
        return found
