"""A file as blocks of whole lines, so that a log of any size is read in the memory of one block."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from common.errors import DataError

SIZE = 16 << 20
"""Bytes of a block."""
LONGEST = 64 << 20
"""Bytes of a line; a file that has longer ones is no log."""


def texts(file: object, pieces: Iterable[bytes]) -> Iterator[tuple[int, str]]:
    r"""Blocks of whole lines with ``\n`` endings, and the number (from 1) of the first line of each.

    Raises :class:`DataError` for a byte that is not UTF-8, with its line.
    """
    line, rest = 1, b""
    for piece in pieces:
        end = piece.rfind(b"\n") + 1
        if end:
            block, rest = rest + piece[:end], piece[end:]
            yield line, decode(file, block, line)
            line += block.count(b"\n")
        else:
            rest += piece
            if len(rest) > LONGEST:
                raise DataError(file, f"a line of more than {LONGEST >> 20} MiB", line)
    if rest:
        yield line, decode(file, rest, line)


def decode(file: object, data: bytes, line: int = 1) -> str:
    """UTF-8 text with ``\\n`` endings; a byte that is not UTF-8 is named by its line, ``line`` the first."""
    try:
        text = data.decode("utf-8-sig" if line == 1 else "utf-8")
    except UnicodeDecodeError as error:
        place = line + data.count(b"\n", 0, error.start)
        raise DataError(
            file,
            f"byte 0x{data[error.start]:02x} is not UTF-8 text; name the encoding: data.encoding=cp1252",
            place,
        ) from error
    return text.replace("\r\n", "\n")
