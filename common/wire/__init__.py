"""What crosses the wire, to and from Flower's RecordDict; decoding raises WireError and nothing else."""

from common.updates import UpdateSpec
from common.wire.enrolment import (
    check_catalogue,
    decode_enrolment,
    decode_question,
    encode_enrolment,
    encode_question,
)
from common.wire.evaluate import (
    SumsSpec,
    decode_evaluate_sums,
    decode_evaluate_task,
    encode_evaluate_sums,
    encode_evaluate_task,
)
from common.wire.reasons import Reason
from common.wire.train import decode_train_task, encode_train_task, encode_train_tasks
from common.wire.updates import decode_updates, encode_updates

__all__ = [
    "Reason",
    "SumsSpec",
    "UpdateSpec",
    "check_catalogue",
    "decode_enrolment",
    "decode_evaluate_sums",
    "decode_evaluate_task",
    "decode_question",
    "decode_train_task",
    "decode_updates",
    "encode_enrolment",
    "encode_evaluate_sums",
    "encode_evaluate_task",
    "encode_question",
    "encode_train_task",
    "encode_train_tasks",
    "encode_updates",
]
