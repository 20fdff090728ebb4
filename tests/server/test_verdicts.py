"""The audit of a round from columns: the same lines as from an object for each device."""

from __future__ import annotations

import json
from collections import Counter

import pytest
import torch

from server.aggregators.memory import Identity, signed
from server.round.verdicts import Audit, AuditEntry, AuditLines, verdicts

WHO = [(7, 1), (2**64 - 1, 1), (7, 3), (2, 4), (2**63 + 5, 9)]
NEWS = [AuditEntry(3, 9, None, "refused", "quota", "claims 5 devices, cut to 2")]


def audit() -> Audit:
    """Five admitted devices, one of them with a cut; a refused device and two whole replies."""
    entries = (
        AuditEntry(3, 7, 3, "clipped", "history", "claims 99 interactions, counted as 50"),
        AuditEntry(3, 7, 2, "refused", "norm", 'norm 1e30 "x"\n'),
        AuditEntry(3, 8, None, "refused", "failed", "late", seconds_held=1.5),
        AuditEntry(3, 7, None, "refused", "missing", "1 of 4 devices sent nothing"),
    )
    return Audit(3, Identity(signed(WHO)), torch.tensor([True, True, False, True, True]), entries)


def test_the_order_is_by_node_and_device_replies_first() -> None:
    found = [(e.node, e.device) for e in audit()]
    assert found == [
        *((2, 4), (7, None), (7, 1), (7, 2), (7, 3), (8, None)),
        *((2**63 + 5, 9), (2**64 - 1, 1)),
    ]
    assert len(audit()) == 8
    assert audit() == list(audit())
    assert audit()[-1] == AuditEntry(3, 2**64 - 1, 1, "admitted")


@pytest.mark.parametrize(
    "weights", [None, torch.tensor([0.1, 1 / 3, 0.25, 0.0, 1e-30]), torch.full((5,), float("nan"))]
)
def test_the_text_is_that_of_every_line_by_itself(weights: torch.Tensor | None) -> None:
    lines = AuditLines(audit(), weights, NEWS)
    assert lines.text() == "".join(json.dumps(line) + "\n" for line in lines)
    assert len(lines) == 9
    assert lines[0]["reason"] == "quota"
    if weights is not None:
        written = [json.loads(line) for line in lines.text().splitlines()]
        given = {(line["node"], line["device"]): line["weight"] for line in written if "weight" in line}
        assert [str(given[who]) for who in WHO] == [str(w) for w in weights.tolist()]


def test_verdicts_are_counted_as_from_the_lines() -> None:
    lines = AuditLines(audit(), None, NEWS)
    assert verdicts(lines) == verdicts(list(lines))
    assert verdicts(lines)[False, "admitted", ""] == 4
    assert verdicts(AuditLines(Audit(1))) == Counter()


def test_a_round_of_nobody_has_no_lines() -> None:
    assert AuditLines(Audit(1)).text() == ""
    assert list(Audit(1)) == []
