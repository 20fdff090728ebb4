"""Federated training: devices send updates, and the server reads them; server/evaluation is its like."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace

import torch
from flwr.app import ConfigRecord, Message, MessageType

from common.config import RunConfig
from common.errors import ConfigError
from common.tasks import GlobalModel
from common.wire import encode_train_tasks
from common.wire.reasons import Reason
from common.wire.replies import Replies, sort_replies
from server.nodes.roster import Roster
from server.round.admission import Admitted, admit, with_root
from server.round.drawing import Drawing, draw_round
from server.round.state import ServerState
from transport.limits import REPLY_MB, megabytes


def check_start(given: Mapping[str, ConfigRecord | None]) -> None:
    """Raise ConfigError for arguments of ``Strategy.start`` that a RunConfig already holds; name -> value."""
    for name, value in given.items():
        if value:
            raise ConfigError(f"{name}: given {', '.join(value)}; RobustStrategy reads only its RunConfig")


def rounds_of(config: RunConfig, wanted: int | None) -> int:
    """The last round: ``wanted``, or that of ``config``. Raises ConfigError for one after that."""
    most = config.train.rounds
    if wanted is not None and wanted > most:  # the rate would be below 0
        raise ConfigError(f"num_rounds: given {wanted}; at most train.rounds, which is {most}")
    return most if wanted is None else wanted


def planned(
    config: RunConfig,
    run: str,
    round_: int,
    model: GlobalModel,
    state: ServerState,
    roster: Roster,
    rooted: bool,
) -> Drawing:
    """The slice and the devices of a round, and all devices of trusted nodes where the rule is ``rooted``.

    Raises RunError where the update of one device is more than a reply may hold.
    """
    taken = megabytes(REPLY_MB)
    drawing = draw_round(config, run, round_, model, state, roster.pool)
    # Half of what is taken is planned with: the rest is for all that is not values.
    roots = {node: enrolment.devices for node, enrolment in roster.roots.items()} if rooted else {}
    drawing = replace(drawing, most=min(drawing.most, taken // 2), roots=roots)
    drawing.check_size(taken, REPLY_MB[0])
    return drawing


def train_messages(drawing: Drawing) -> list[Message]:
    """One message for each node that has some of the devices, or more where its reply would be too large."""
    group, requests = str(drawing.task.round), drawing.requests()  # the group is for the nodes' logs
    contents = encode_train_tasks(drawing.task, [devices for _, devices in requests])
    return [
        Message(content, node, MessageType.TRAIN, group_id=group)
        for (node, _), content in zip(requests, contents, strict=True)
    ]


def received(
    replies: Iterable[Message], drawing: Drawing, roster: Roster, max_history: int, device: torch.device
) -> Admitted:
    """The updates that came back for ``drawing`` and are what was asked; the roster hears who answered."""
    came = replies if isinstance(replies, Replies) else Replies(replies)
    answers, silent = sort_replies(came, drawing.requests())
    in_time = {answer.node for answer in answers if answer.content is not None} - {*silent}
    roster.heard(in_time, silent, drawing.task.round)
    trusted = [answer for answer in answers if answer.node in drawing.roots]
    others = [answer for answer in answers if answer.node not in drawing.roots]
    spec = drawing.spec()
    admitted = admit(others, spec, max_history, device, consume=True)
    for entry in admitted.audit.entries:
        if entry.reason == Reason.MISSING or Reason.UNKNOWN_DEVICE in entry.detail:
            roster.doubt(entry.node)
    newcomers = roster.pool.newcomers(admitted.identity, drawing.task.round)
    admitted = replace(admitted, newcomers=newcomers)
    return with_root(admitted, admit(trusted, spec, 1, device)) if trusted else admitted
