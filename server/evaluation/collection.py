"""Federated evaluation: devices rank the whole catalogue and send sums, the server adds them."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from logging import WARNING, getLogger
from typing import Any, Literal

from flwr.app import Message, MessageType, RecordDict

from common.config import RunConfig
from common.errors import WireError
from common.items import number_of, numbers_of
from common.metrics import add, by_group, exposures, exposures_by_target, group_exposures, means, scaled
from common.response import debias, kept
from common.sampling import Sample
from common.tasks import EvaluateSums, EvaluateTask
from common.wire import Reason, SumsSpec, decode_evaluate_sums, encode_evaluate_task
from common.wire.reasons import show
from common.wire.replies import CUT_OFF, LATE, Replies
from server.evaluation.over_nodes import far_outside, over_nodes, widened
from server.nodes.roster import Roster
from server.nodes.shares import SHARE
from server.records.report import Evaluation
from server.round.state import ServerState
from server.round.verdicts import AuditEntry, Verdict

log = getLogger("flwr").log
Split = Literal["valid", "test"]
Bounds = tuple[int, int, int]


def evaluate_messages(
    config: RunConfig,
    run: str,
    state: ServerState,
    roster: Roster,
    split: Split,
    sample: Sample | None = None,
) -> list[Message]:
    """One message to every enrolled node: rank the items of ``split`` under the model as it is.

    sample: the devices that are asked, None for all. A node finds its own; no list of them is sent.
    """
    task = EvaluateTask(
        run=run,
        round=state.round,
        model=state.model,
        model_config=config.model,
        split=split,
        targets=numbers_of(config.eval.targets, "eval.targets"),
        quartiles=_bounds(roster, split, config),
        sample=sample,
        group=number_of(group, "eval.group") if (group := config.eval.group) else 0,
    )
    group, content = str(state.round), encode_evaluate_task(task)  # the group is for the node's log
    return [
        Message(RecordDict(dict(content)), node, MessageType.EVALUATE, group_id=group)  # packed once for all
        for node in asked_nodes(roster)
    ]


def asked_nodes(roster: Roster) -> list[int]:
    """Nodes that evaluate: one whose devices are all another's has nothing to say."""
    return [node for node, enrolment in roster.nodes.items() if len(enrolment.devices)]


@dataclass(frozen=True)
class Collected:
    """What an evaluation found, None when no device answered, a line of the audit for each node asked, and
    the nodes that did not answer."""

    evaluation: Evaluation | None
    audit: list[dict[str, Any]]
    silent: frozenset[int]


def collect(
    replies: Iterable[Message],
    config: RunConfig,
    run: str,
    round_: int,
    roster: Roster,
    split: Split,
    sample: Sample | None = None,
) -> Collected:
    """Means over all devices that answered, and statistics over nodes beside them.

    What does not decode is left out. A node counts for at most the pool's ``allowance`` of devices, or for as
    many of a ``sample`` as such a node has, whatever it says: its sums are scaled down to them. Where its log
    has devices that are not its own (another's, or such that it did not come with), they are scaled down to
    the part that is. One answer by randomised response moves the mean like 1/λ exact ones (common.response),
    and is counted as so many.
    """
    missing, parts, audit = set(asked_nodes(roster)), dict[int, EvaluateSums](), list[AuditEntry]()
    bounds, share = _bounds(roster, split, config), None if sample is None else _Share.of(sample, roster)

    def judge(node: int, verdict: Verdict, reason: str = "", detail: str = "") -> None:
        audit.append(AuditEntry(round_, node, None, verdict, reason, detail, split))
        if verdict == "refused":
            log(WARNING, "evaluation of node %d refused: %s", node, detail)

    early = replies.early if isinstance(replies, Replies) else frozenset[int]()
    grown = split == "test" and config.eval.split == "time"
    for message in replies:
        node = message.metadata.src_node_id
        if node not in missing:
            continue
        missing.discard(node)
        if message.has_error():
            judge(node, "refused", Reason.FAILED.value, show(message.error.reason or "error"))
            continue
        claim = roster.claim(node)
        histories = claim.history.long() + _extra_history(split, config)
        if sample is not None:
            histories = histories[sample.holds(claim.devices)]
        try:
            spec = SumsSpec(run, round_, histories, len(config.eval.targets), bool(config.eval.group), grown)
            parts[node] = decode_evaluate_sums(message.content, spec)
        except WireError as error:
            if error.field == "count":  # perhaps its log is another than when it enrolled
                roster.doubt(node)
            judge(node, "refused", error.reason, str(error))
    for node in sorted(missing):
        judge(node, "refused", Reason.FAILED.value, CUT_OFF if node in early else LATE)
    allowance = roster.pool.allowance if share is None else share.most(roster.pool.allowance)
    weights = {node: _weight(part, allowance, _own_share(node, roster)) for node, part in parts.items()}
    for node, weight in weights.items():
        cut = f"counts as {weight:.3g} times its {int(parts[node].count[0])} devices" if weight < 1 else ""
        why = Reason.UNKNOWN_DEVICE if weight == _own_share(node, roster) else Reason.QUOTA
        judge(node, "clipped" if cut else "admitted", why.value if cut else "", cut)
    lines = [entry.to_json() for entry in sorted(audit, key=lambda entry: entry.node)]
    found = _evaluation(parts, weights, config, round_, split, bounds)
    if found is not None:
        enrolled = sum(map(len, roster.counted()))
        found = replace(found, asked=enrolled if share is None else share.asked, enrolled=enrolled)
    return Collected(found, lines, frozenset(missing))


@dataclass(frozen=True)
class _Share:
    """How many devices are in a sample: ``asked`` in number, ``share`` of all."""

    asked: int
    share: float

    @staticmethod
    def of(sample: Sample, roster: Roster) -> _Share:
        inside = [sample.holds(numbers) for numbers in roster.counted()]
        asked = sum(int(one.sum()) for one in inside)
        return _Share(asked, asked / max(1, sum(map(len, inside))))

    def most(self, allowance: int) -> float:
        """Devices of the sample for which a node may count: a p + 3 √(a p (1 − p)), for an allowance of a.

        Who has that many by chance is rare. A node that comes late could choose numbers in the sample.
        """
        expected = allowance * self.share
        return max(1.0, expected + 3 * math.sqrt(expected * (1 - self.share)))


def _evaluation(
    parts: Mapping[int, EvaluateSums],
    weights: Mapping[int, float],
    config: RunConfig,
    round_: int,
    split: Split,
    bounds: Bounds,
) -> Evaluation | None:
    if not any(int(part.count[0]) for part in parts.values()):
        return None
    total = add(
        [
            scaled(_without_other_quartiles(debias(part), bounds), weights[node])
            for node, part in sorted(parts.items())
        ]
    )
    sums, members = by_group(total, len(config.eval.targets))
    parts = {node: by_group(part, len(config.eval.targets))[0] for node, part in parts.items()}
    for node, why in far_outside(parts).items():
        log(WARNING, "round %d %s: node %d is far outside: %s", round_, split, node, why)
    groups = means(sums)
    randomised = sum(int(part.count[0]) for part in parts.values() if part.epsilon)
    return Evaluation(
        round_,
        split,
        groups,
        exposures(sums) | group_exposures(members),
        round(float(sums.count[0])),
        exposures_by_target(sums, config.eval.targets),
        over_nodes(parts),
        randomised,
        widened(list(parts.values()), [weights[node] for node in parts], groups["all"]["hr@10"]),
        recurring=_recurring(parts, weights),
    )


def _recurring(parts: Mapping[int, EvaluateSums], weights: Mapping[int, float]) -> float:
    """Share of the devices whose answer is in their history, over the nodes that answered exactly.

    0 where it rests on one of three nodes or more that answered, or on a tenth of the devices: what a figure
    is called is not for one node to say.
    """
    exact = [(weights[node], part) for node, part in parts.items() if not part.epsilon]
    told = sorted(
        ((weight * part.recurring, weight * int(part.count[0])) for weight, part in exact), reverse=True
    )
    again, count = (sum(column) for column in zip(*told, strict=True)) if told else (0.0, 0.0)
    if told and len(parts) > 2:
        few, left = 1, told[0][1]
        while few < len(told) and left + told[few][1] <= SHARE * count:
            left, few = left + told[few][1], few + 1
        if not any(number for number, _ in told[few:]):
            return 0.0
    return again / count if count else 0.0


def _weight(sums: EvaluateSums, allowance: float, own: float) -> float:
    n = int(sums.count[0])
    moves = n / kept(sums.epsilon) if sums.epsilon else n
    return min(own, allowance / moves) if n else 1.0


def _own_share(node: int, roster: Roster) -> float:
    """The part of a node's devices that counts as its own: it evaluates the others as well."""
    return min(1.0, len(roster.nodes[node].devices) / max(1, len(roster.claim(node).devices)))


def _without_other_quartiles(sums: EvaluateSums, bounds: Bounds) -> EvaluateSums:
    """Without the quartiles of a node that goes by other bounds, those that it was first asked for."""
    if sums.quartiles == bounds:
        return sums
    metrics, count = sums.metrics.clone(), sums.count.clone()
    metrics[1:], count[1:] = 0, 0
    return replace(sums, metrics=metrics, count=count)


def _bounds(roster: Roster, split: Split, config: RunConfig) -> Bounds:
    first, second, third = roster.quartiles()
    more = _extra_history(split, config)
    return first + more, second + more, third + more


def _extra_history(split: Split, config: RunConfig) -> int:
    """Before the test item that is left out, histories are one longer than enrolled."""
    return int(split == "test" and config.eval.split == "leave_one_out")
