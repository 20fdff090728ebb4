"""A home folder that is not there is told, wherever a path may begin with one."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from client.node import load_keys
from common.data import load
from common.data.folders import cache_folder
from common.errors import ConfigError
from common.homes import expanded
from transport.address import read_certificates

NOBODY = "~no-such-user/x.csv"


def test_the_own_home_folder_is_taken(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    assert expanded("~/x.csv") == tmp_path / "x.csv"
    assert expanded("x.csv") == Path("x.csv")


@pytest.mark.parametrize(
    "use",
    [
        lambda: load("mine", NOBODY),
        lambda: load_keys(Path(NOBODY)),
        lambda: read_certificates("--root-certificates", Path(NOBODY)),
        cache_folder,
    ],
)
def test_one_that_is_not_there_is_told(use: Callable[[], object], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FEDSIEVE_CACHE", NOBODY)
    with pytest.raises(ConfigError, match=r"x\.csv: there is no home folder of ~no-such-user$"):
        use()
