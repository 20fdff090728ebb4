"""A Docker engine for a test: the one that answers, or one of our own that cannot send a packet anywhere."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
import tomllib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pytest

from experiments.shipped import HOME as ROOT

START_S, BUILD_S, PIP_S = 60.0, 1500.0, 900.0
BASE = os.environ.get("BASE_IMAGE", "python:3.11-slim-bookworm")


def docker(
    *command: str | Path, timeout: float = 120.0, **environment: str
) -> subprocess.CompletedProcess[str]:
    """``docker COMMAND`` in the repository's folder; its output, standard error included."""
    return subprocess.run(
        ["docker", *map(str, command)],
        cwd=ROOT,
        env={**os.environ, **environment},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=timeout,
        check=False,
    )


@contextmanager
def engine() -> Iterator[None]:
    """Yield while an engine answers; skip, and say why, where there is none and none can be started.

    As root on a machine that has ``dockerd`` but no running one, it is started in a network namespace of
    its own, and stopped afterwards.
    """
    if shutil.which("docker") is None:
        pytest.skip("CONTAINERS NOT TESTED: there is no docker command")
    if docker("compose", "version").returncode:
        pytest.skip("CONTAINERS NOT TESTED: docker has no compose plugin")
    if docker("info").returncode == 0:
        yield
        return
    if os.getuid() or shutil.which("dockerd") is None or shutil.which("unshare") is None:
        pytest.skip("CONTAINERS NOT TESTED: no Docker engine answers (docker info)")
    started = subprocess.Popen(
        ["unshare", "--net", "sh", "-c", "ip link set lo up; exec dockerd --log-level warn"],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        end = time.monotonic() + START_S
        while docker("info").returncode:
            if started.poll() is not None or time.monotonic() > end:
                pytest.skip("CONTAINERS NOT TESTED: dockerd is installed but does not come up")
            time.sleep(0.5)
        yield
    finally:
        started.terminate()
        started.wait(60)


def build(tag: str, wheels: Path) -> None:
    """Build the image from the wheels that pip finds here, without a network. Skips without a base image."""
    if docker("image", "inspect", BASE).returncode and docker("pull", "--quiet", BASE).returncode:
        pytest.skip(f"CONTAINERS NOT TESTED: the image {BASE} is not here and cannot be pulled")
    if any((ROOT / "docker" / "wheels").glob("torch-*.whl")):  # `make wheels` was here
        wheels = ROOT / "docker" / "wheels"
    else:
        download(wheels)
    settings: Mapping[str, str] = {"IMAGE": tag, "WHEELS": str(wheels), "OFFLINE": "1", "TORCH_INDEX": ""}
    built = docker("compose", "build", timeout=BUILD_S, **settings)
    assert built.returncode == 0, built.stdout[-5000:]


def download(wheels: Path) -> None:
    """What ``make wheels`` does, from wherever pip is told to look."""
    torch = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["uv"]["constraint-dependencies"]
    locked = ["--no-deps", "--require-hashes", "-r", str(ROOT / "requirements" / "run.lock")]
    command = [
        sys.executable,
        "-m",
        "pip",
        "download",
        "--quiet",
        "--only-binary=:all:",
        "--dest",
        str(wheels),
    ]
    for wanted in (torch, locked):
        subprocess.run([*command, *wanted], check=True, timeout=PIP_S, capture_output=True)
