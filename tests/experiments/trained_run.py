"""A finished run of a few rounds on a log with ids of its own, for tests of what comes after."""

from __future__ import annotations

import csv
from pathlib import Path

from common.data import load
from emulation.federation import federate
from tests.server.federation import LOG, config


def log(folder: Path) -> Path:
    """The tiny synthetic log as a CSV whose items are called i101 … and whose users u1 …."""
    dataset, path = load("synthetic", LOG), folder / "log.csv"
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["user", "item", "time"])
        for user, sequence in zip(dataset.devices, dataset.sequences, strict=True):
            writer.writerows([f"u{user}", f"i{100 + item}", n] for n, item in enumerate(sequence))
    return path


def finished(folder: Path, *overrides: str) -> Path:
    """The folder of a run on :func:`log`."""
    federate(
        config(
            "data.name=log",
            f"data.path={log(folder)}",
            "eval.targets=[]",
            "attack.targets='#3'",
            "model.heads=2",
            *overrides,
        ),
        folder / "run",
    )
    return folder / "run"
