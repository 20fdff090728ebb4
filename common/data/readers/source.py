"""The bytes of a log, whatever they are packed in, and what is known of them."""

from __future__ import annotations

import bz2
import codecs
import gzip
import lzma
import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from typing import IO

from common.data.readers import blocks
from common.errors import DataError
from common.preparation import AS_IT_IS, Preparation, Reading

OPENERS: dict[str, Callable[[Path], IO[bytes]]] = {
    ".gz": gzip.GzipFile,  # type: ignore[dict-item]
    ".bz2": bz2.BZ2File,
    ".xz": lzma.LZMAFile,
}
PACKED = (*OPENERS, ".zip")
MARKS = {codecs.BOM_UTF16_LE: "utf-16", codecs.BOM_UTF16_BE: "utf-16"}
BROKEN = (EOFError, gzip.BadGzipFile, lzma.LZMAError, zlib.error, zipfile.BadZipFile, NotImplementedError)


@dataclass
class Source:
    """What a reader gets: the ``file`` that errors name, its bytes, and the rules of reading it."""

    file: object
    pieces: Iterable[bytes]
    prepare: Preparation = AS_IT_IS
    reading: Reading = field(default_factory=Reading)

    def texts(self) -> Iterator[tuple[int, str]]:
        """Blocks of whole lines, see :func:`blocks.texts`."""
        return blocks.texts(self.file, self.utf8())

    def utf8(self) -> Iterator[bytes]:
        """The pieces in UTF-8, from ``data.encoding`` or UTF-16 with a mark. Raises :class:`DataError`."""
        rest = iter(self.pieces)
        first = next(rest, b"")
        encoding = self.prepare.encoding
        if encoding == "auto":
            encoding = MARKS.get(first[:2], "utf-8")
            if encoding == "utf-8" and b"\0" in first[:64]:
                guess = "utf-16-le" if first[1:2] == b"\0" else "utf-16-be"
                raise DataError(
                    self.file, f"byte 0x00 is no text; if this is UTF-16, say data.encoding={guess}", 1
                )
        pieces = chain([first], rest)
        self.reading.format += f", {encoding}"
        return iter(pieces) if codecs.lookup(encoding).name == "utf-8" else self._recoded(pieces, encoding)

    def _recoded(self, pieces: Iterable[bytes], encoding: str) -> Iterator[bytes]:
        decoder, line = codecs.getincrementaldecoder(encoding)(), 1
        for piece, last in chain(((one, False) for one in pieces), [(b"", True)]):
            try:
                text = decoder.decode(piece, last)
            except UnicodeDecodeError as error:
                raise DataError(self.file, f"not {encoding} text: {error.reason}", line) from error
            line += text.count("\n")
            yield text.encode("utf-8", "replace")


def ending(path: Path) -> tuple[str, str]:
    """The ending of the log and that of what it is packed in, of log.csv.gz .csv and .gz."""
    last = path.suffix.lower()
    if last not in PACKED:
        return last, ""
    return Path(path.stem).suffix.lower(), last


def opened(path: Path, endings: Iterable[str]) -> tuple[str, Iterator[bytes]]:
    """The ending of the log in ``path`` and its bytes, piece by piece.

    An archive holds one file with one of ``endings``. Raises :class:`DataError`.
    """
    inner, packed = ending(path)
    if packed == ".zip":
        member = _member(path, set(endings))
        return Path(member).suffix.lower(), unpacked(path, member)
    if packed:
        return inner, _pieces(path, lambda: OPENERS[packed](path))
    return inner, _pieces(path, lambda: path.open("rb"))


def unpacked(path: Path, member: str) -> Iterator[bytes]:
    """The bytes of ``member`` of a zip archive, piece by piece. Raises :class:`DataError`."""
    try:
        with zipfile.ZipFile(path) as archive:
            archive.getinfo(member)
    except (KeyError, *BROKEN) as error:
        raise DataError(path, f"expected an archive with {member}: {error}") from error
    return _pieces(path, lambda: zipfile.ZipFile(path).open(member))


def _member(path: Path, endings: set[str]) -> str:
    try:
        with zipfile.ZipFile(path) as archive:
            names = [one.filename for one in archive.infolist() if not one.is_dir()]
    except BROKEN as error:
        raise DataError(path, f"not a complete zip archive: {error}") from error
    able = [
        name for name in names if Path(name).suffix.lower() in endings and not Path(name).name.startswith(".")
    ]
    if len(able) != 1:
        held = ", ".join((able or names)[:6]) or "nothing"
        raise DataError(path, f"expected one log in the archive, found {held}; unpack it and give the file")
    return able[0]


def _pieces(path: Path, open_: Callable[[], IO[bytes]]) -> Iterator[bytes]:
    try:
        with open_() as file:
            while piece := file.read(blocks.SIZE):
                yield piece
    except (*BROKEN, RuntimeError) as error:  # zipfile's word for a password
        raise DataError(path, f"cannot be unpacked: {error}") from error
