"""What a node takes from a run's app bundle: settings, and never code."""

from __future__ import annotations

import io
import sys
import threading
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from transport import link as link_module
from transport.link import Link, connect

PROJECT = """
[project]
name = "evil"
version = "1.0.0"
description = ""
license = { text = "Apache-2.0" }

[tool.flwr.app]
publisher = "somebody"

[tool.flwr.app.components]
serverapp = "server.app:app"
clientapp = "client.evil:app"

[tool.flwr.app.config]
out = ""
seed = 3
"""


def bundle(marker: Path) -> bytes:
    """An app whose every module leaves ``marker`` behind when it is imported or run."""
    code = f"from pathlib import Path\nPath({str(marker)!r}).touch()\n"
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("pyproject.toml", PROJECT)
        for name in ("client/evil.py", "client/__init__.py", "client/app.py", "sitecustomize.py"):
            archive.writestr(name, code)
    return file.getvalue()


def test_a_node_reads_the_settings_of_a_bundle_and_runs_none_of_its_code(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    marker = tmp_path / "marker"
    run = SimpleNamespace(fab_hash="h", override_config={"out": "here"})
    fab = SimpleNamespace(content=bundle(marker))
    calls: list[Any] = [None, None, lambda run_id: run, lambda fab_hash, run_id: fab, None, None, None]
    link = Link(1, threading.Event(), *calls)
    before, path = set(sys.modules), list(sys.path)
    assert link.run_config(7) == {"seed": 3, "out": "here"}
    assert not marker.exists()
    assert list(tmp_path.iterdir()) == []  # nothing was unpacked
    assert sys.path == path
    assert not {name for name in set(sys.modules) - before if "evil" in name}


@pytest.mark.parametrize("dead", [True, False])
def test_the_channel_is_closed_although_the_heartbeat_is_dead(
    monkeypatch: pytest.MonkeyPatch, dead: bool
) -> None:
    closed: list[str] = []

    @contextmanager
    def flowers(*_: object, **__: object) -> Iterator[tuple[object, ...]]:
        channel = SimpleNamespace(close=lambda: closed.append("channel"))
        try:
            yield (1, *[None] * 7)
        finally:
            if dead:
                raise RuntimeError("Heartbeat sender is not running.")
            channel.close()

    monkeypatch.setattr(link_module, "node_connection", lambda: flowers)
    with connect("h:1", None, None, threading.Event()) as link:
        assert link.node_id == 1
        assert not closed
    assert set(closed) == {"channel"}
