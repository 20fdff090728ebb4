"""``/metrics`` over HTTP while a run goes on: off unless ``FEDSIEVE_METRICS`` names a port.

An environment variable and no setting of the run: who may submit a run must not open ports of the server,
and a port does not change what is trained, so that a resumed run may have another one.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

from common.config import RunConfig
from common.errors import ConfigError
from common.logs import event
from server.records.report import Listener

VARIABLE = "FEDSIEVE_METRICS"
HOST = "127.0.0.1"
_LOG = logging.getLogger("flwr")


def parse(text: str) -> tuple[str, int]:
    """HOST:PORT, or PORT of 127.0.0.1; port 0 is any free one. Raises ConfigError for anything else.

    >>> parse("9464"), parse("0.0.0.0:9464"), parse("[::1]:9464")
    (('127.0.0.1', 9464), ('0.0.0.0', 9464), ('::1', 9464))
    """
    host, colon, port = text.strip().rpartition(":")
    if not (port.isascii() and port.isdecimal() and int(port) < 1 << 16) or (colon and not host):
        raise ConfigError(f"{VARIABLE}: {text!r}; expected PORT or HOST:PORT, as in 127.0.0.1:9464")
    return host.removeprefix("[").removesuffix("]") or HOST, int(port)


@contextmanager
def metrics(
    config: RunConfig, run: str, environment: Mapping[str, str] = os.environ
) -> Iterator[Sequence[Listener]]:
    """The listener of a run whose figures are served until the block ends; none where that is off.

    A port that is taken, or a missing library, costs the figures and not the run: it is a warning.
    Raises ConfigError for an address that is none.
    """
    wanted = environment.get(VARIABLE, "")
    if not wanted.strip():
        yield []
        return
    host, port = parse(wanted)
    try:
        from prometheus_client import start_http_server

        from server.records.metrics import RunMetrics

        listener = RunMetrics(run, config)
        server, thread = start_http_server(port, host, listener.registry)
    except (OSError, ImportError) as error:
        _LOG.warning("%s=%s: no metrics in this run: %s", VARIABLE, wanted, error, extra=event("metrics_off"))
        yield []
        return
    port = server.server_port
    _LOG.info(
        "metrics at http://%s:%d/metrics", host, port, extra=event("metrics", {"host": host, "port": port})
    )
    try:
        yield [listener]
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
