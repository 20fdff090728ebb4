"""Text of others, made fit for a terminal, a log or a page: nothing in it acts, and nothing is long."""

from __future__ import annotations

import json
import re
from typing import Any

LIMIT = 500
"""Characters of one text of a stranger."""

LONGEST = 4000
"""Characters of one line that may hold such texts."""

_ACTS = (
    "\\x00-\\x1f\\x7f-\\x9f"  # C0 with ESC, DEL, C1
    "\\u00ad\\u061c\\u180e\\u200b\\u200e\\u200f\\u2060-\\u206f\\ufeff\\ufff9-\\ufffb"  # bidi, unseen
    "\\u2028-\\u202e"  # line and paragraph separators, bidi embeddings and overrides
    "\\ud800-\\udfff\\U000e0000-\\U000e007f"  # half characters, tags
)
_ACTING = re.compile(f"[{_ACTS}]")
_FLOWERS_COLOURS = re.compile(r"\x1b\[(?:9[1-5]|0)m")


def printable(text: object, limit: int = LIMIT) -> str:
    """``text`` with what acts on a terminal or breaks a line escaped, and cut to ``limit`` characters.

    Letters of all scripts stay. What is cut is said, beyond the limit. Never raises for a str.

    >>> printable("naïve 東京\\x1b[2J\\n")
    'naïve 東京\\\\x1b[2J\\\\n'
    >>> printable("aaaaaa", 3)
    'aaa... (6 long)'
    """
    whole = text if isinstance(text, str) else str(text)
    found = _ACTING.sub(_escaped, whole[:limit])
    if len(whole) > limit or len(found) > limit:
        return f"{found[:limit]}... ({len(whole)} long)"
    return found


def printable_lines(text: object, limit: int = LONGEST, mark: str = "") -> str:
    """Each line of ``text`` made printable, ``mark`` before all but the first; of long ones the two ends.

    At most about four times ``limit`` characters are kept.
    """
    whole = str(text)
    most = 4 * limit
    if len(whole) > most:
        whole = f"{whole[: most // 4]}\n... ({len(whole)} long)\n{whole[-(most - most // 4) :]}"
    lines = (line.removesuffix("\r").expandtabs(4) for line in whole.split("\n"))
    return f"\n{mark}".join(printable(line, limit) for line in lines)


def printable_log(line: str) -> str:
    """A line of another program's log, without the colours that Flower gives its levels."""
    return printable(_FLOWERS_COLOURS.sub("", line[: 2 * LONGEST]).expandtabs(4), LONGEST)


def counted(number: int, noun: str) -> str:
    """``1 cell``, ``1,200 cells``."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def json_text(value: Any, indent: int | None = None) -> str:
    """JSON in which letters of all scripts stay and what acts on a terminal is escaped."""
    text = json.dumps(value, indent=indent, ensure_ascii=False)
    return _ACTING.sub(lambda found: found[0] if found[0] == "\n" else json.dumps(found[0])[1:-1], text)


def _escaped(found: re.Match[str]) -> str:
    return ascii(found[0])[1:-1]
