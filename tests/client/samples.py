"""The small federation that the contracts train, too."""

from experiments.contracts.samples import (
    DIM,
    ITEMS,
    LENGTHS,
    MAX_LEN,
    SLICE,
    cohort,
    histories,
    history,
    model_config,
    parameters,
    task,
)

__all__ = [
    "DIM",
    "ITEMS",
    "LENGTHS",
    "MAX_LEN",
    "SLICE",
    "cohort",
    "histories",
    "history",
    "model_config",
    "parameters",
    "task",
]
