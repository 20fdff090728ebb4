"""What is told of the machine and of this process, whatever the system."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import psutil
import pytest
import torch

from common.machine import MIB, available_mib, cores, peak_cuda_mib, peak_mib

THP = Path("/sys/kernel/mm/transparent_hugepage/enabled")


def test_cores_are_those_that_this_process_may_use(monkeypatch: pytest.MonkeyPatch) -> None:
    assert 1 <= cores() <= (psutil.cpu_count() or 1)
    monkeypatch.setattr(psutil, "Process", lambda: SimpleNamespace(cpu_affinity=lambda: [3, 5]))
    assert cores() == 2
    monkeypatch.setattr(psutil, "Process", SimpleNamespace)  # macOS says nothing of affinity
    monkeypatch.setattr(psutil, "cpu_count", lambda: 8)
    assert cores() == 8


def test_available_memory_is_part_of_the_whole() -> None:
    assert 0 < available_mib() < psutil.virtual_memory().total / MIB


def test_the_peak_is_in_mib_and_stays_when_memory_is_given_back() -> None:
    code = "b = bytearray(200 << 20); del b; from common.machine import peak_mib; print(peak_mib())"
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert 200 < float(told) < 5000  # on Linux a child starts at the peak of its parent


def test_macos_counts_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resource, "getrusage", lambda _: SimpleNamespace(ru_maxrss=5 * MIB))
    monkeypatch.setattr(sys, "platform", "darwin")
    assert peak_mib() == 5
    monkeypatch.setattr(sys, "platform", "linux")
    assert peak_mib() == 5 * 1024


def test_the_peak_of_a_card_is_that_of_the_fullest_and_none_where_none_was_used(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "max_memory_allocated", lambda card: (3 + card) * MIB)
    monkeypatch.setattr(torch.cuda, "is_initialized", lambda: False)
    assert peak_cuda_mib() == 0
    monkeypatch.setattr(torch.cuda, "is_initialized", lambda: True)
    assert peak_cuda_mib() == 4


@pytest.mark.parametrize(("given", "kept"), [(None, "1"), ("0", "0")], ids=["by default", "what a user says"])
def test_large_tensors_ask_for_large_pages(given: str | None, kept: str) -> None:
    name = "THP_MEM_ALLOC_ENABLE"
    environment = {key: value for key, value in os.environ.items() if key != name}
    environment |= {} if given is None else {name: given}
    code = f"import os, fedsieve; print(os.environ['{name}'])"
    told = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment
    ).stdout
    assert told.strip() == kept


@pytest.mark.skipif(
    not THP.exists() or "[madvise]" not in THP.read_text(), reason="this kernel does not ask for advice"
)
def test_a_large_tensor_lies_on_large_pages() -> None:
    code = (
        "import common, torch; kept = torch.ones(64 << 20 >> 2)\n"
        "print(next(line.split()[1] for line in open('/proc/self/smaps_rollup') if 'AnonHuge' in line))"
    )
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert int(told) >= 32 << 10  # KiB
