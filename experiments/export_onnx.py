"""A trained model as one ONNX graph, for ONE user as the models are written."""

from __future__ import annotations

import importlib.util
import logging
import warnings

import torch
from torch import Tensor, nn

from common.errors import ConfigError
from experiments.trained import Trained

NEEDED = ("onnx", "onnxscript")


class Scorer(nn.Module):
    """items int64 [L], 0 is padding on the left, and of a timed model gaps [L] -> scores float32 [N + 1]."""

    def __init__(self, run: Trained) -> None:
        super().__init__()
        self.encoder = run.encoder()
        self.item_table = nn.Parameter(run.parameters.embeddings)

    def forward(self, items: Tensor, gaps: Tensor | None = None) -> Tensor:
        last = torch.tensor([len(items) - 1])
        when = {} if gaps is None else {"gaps": gaps}
        hidden = self.encoder(self.item_table[items], items == 0, positions=last, **when)  # [1, d]
        return self.item_table @ hidden[0]  # type: ignore[no-any-return]  # [N + 1]


def graph(run: Trained) -> bytes:
    """Input ``items`` int64 [L], and ``gaps`` float32 [L] where the model reads times; output ``scores``
    float32 [N + 1], place 0 is padding and meaningless.

    Raises ConfigError where the extra ``onnx`` is not installed.
    """
    if missing := [name for name in NEEDED if importlib.util.find_spec(name) is None]:
        raise ConfigError(f"--format onnx needs {' and '.join(missing)}: pip install 'fedsieve[onnx]'")
    example = torch.zeros(run.config.model.max_len, dtype=torch.int64)
    example[-1] = 1
    log = logging.getLogger("torch.onnx")
    level = log.level
    log.setLevel(logging.ERROR)  # it tells of vision operators that nobody asked for
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", (DeprecationWarning, FutureWarning))  # torch's own, inside
            program = torch.onnx.export(
                Scorer(run).eval(),
                (example, torch.zeros(len(example))) if run.timed else (example,),
                input_names=["items", "gaps"] if run.timed else ["items"],
                output_names=["scores"],
                dynamo=True,
                verbose=False,
            )
    finally:
        log.setLevel(level)
    assert program is not None  # None is for the older exporter
    return bytes(program.model_proto.SerializeToString())
