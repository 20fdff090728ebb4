"""Federated evaluation: devices rank the whole catalogue and send sums, the server adds them."""

from __future__ import annotations

from collections.abc import Iterable
from logging import WARNING
from typing import Literal

from flwr.app import Message, MessageType
from flwr.common.logger import log

from common.config import RunConfig
from common.errors import WireError
from common.metrics import add, exposures, exposures_by_target, means
from common.tasks import EvaluateSums, EvaluateTask
from common.wire import SumsSpec, decode_evaluate_sums, encode_evaluate_task
from server.report import Evaluation
from server.roster import Roster
from server.state import ServerState

Split = Literal["valid", "test"]


def evaluate_messages(
    config: RunConfig, run: str, state: ServerState, roster: Roster, split: Split
) -> list[Message]:
    """One message to every enrolled node: rank the items of ``split`` under the model as it is."""
    first, second, third = roster.quartiles()
    more = 1 if split == "test" else 0  # before the test item, histories are one longer than enrolled
    task = EvaluateTask(
        run=run,
        round=state.round,
        model=state.model,
        model_config=config.model,
        split=split,
        targets=config.eval.targets,
        quartiles=(first + more, second + more, third + more),
    )
    group = str(state.round)  # for the node's log
    return [
        Message(encode_evaluate_task(task), node, MessageType.EVALUATE, group_id=group)
        for node in roster.nodes
    ]


def collect(
    replies: Iterable[Message], config: RunConfig, run: str, round_: int, roster: Roster, split: Split
) -> Evaluation | None:
    """Means over all devices that answered; what does not decode is left out and logged.

    None when no device answered: there is nothing to take a mean of.
    """
    parts: list[EvaluateSums] = []
    for message in replies:
        node = message.metadata.src_node_id
        if message.has_error() or node not in roster.nodes:
            log(WARNING, "node %d did not evaluate", node)
            continue
        expect = SumsSpec(run, round_, len(roster.nodes[node].devices), len(config.eval.targets))
        try:
            parts.append(decode_evaluate_sums(message.content, expect))
        except WireError as error:
            log(WARNING, "evaluation of node %d refused: %s", node, error)
    if not parts:
        return None
    sums = add(parts)
    groups = means(sums)
    if "all" not in groups:
        return None
    by_target = exposures_by_target(sums, config.eval.targets)
    named = {str(item): found for item, found in by_target.items()}  # as JSON will have it
    return Evaluation(round_, split, groups, exposures(sums), int(sums.count[0]), named)
