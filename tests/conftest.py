"""What holds for every test."""

from __future__ import annotations

import logging
import os
import signal
from collections.abc import Iterator

import pytest
from hypothesis import settings

settings.register_profile("any machine", deadline=None)
settings.load_profile("any machine")
"""How long an example takes says something of the machine, not of the code."""


def pytest_make_parametrize_id(val: object) -> str | None:
    """Bytes by their number: gzip and zip write the time into theirs, and workers do not collect at once."""
    return f"{len(val)} bytes" if isinstance(val, bytes) else None


@pytest.fixture(autouse=True)
def environment_restored() -> Iterator[None]:
    """The environment after a test is the one before it: the command line sets variables for its children."""
    before = dict(os.environ)
    yield
    before.pop("PYTEST_CURRENT_TEST", None)  # pytest's own, and it changes while a test runs
    for name in os.environ.keys() - before.keys() - {"PYTEST_CURRENT_TEST"}:
        del os.environ[name]
    os.environ.update(before)


@pytest.fixture(autouse=True)
def log_levels_restored() -> Iterator[None]:
    """And so are the levels of loggers: a benchmark that runs in a test makes Flower silent."""
    loggers = (logging.root, logging.getLogger("flwr"))
    levels, disabled = [logger.level for logger in loggers], logging.root.manager.disable
    yield
    for logger, level in zip(loggers, levels, strict=True):
        logger.setLevel(level)
    logging.disable(disabled)


@pytest.fixture(autouse=True)
def signals_restored() -> Iterator[None]:
    """And so is what answers a signal. Ctrl-C is heard even where the tests run in the background, whose
    children are told to ignore it, and after a test whose program set a handler and ended without it."""
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGHUP)}
    signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    for number, handler in before.items():
        signal.signal(number, handler)
    signal.signal(signal.SIGINT, signal.default_int_handler)
