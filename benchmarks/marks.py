"""Tables of docs that a command writes: what stands between ``<!-- NAME -->`` and ``<!-- end -->``."""

from __future__ import annotations

import re


def marked(page: str, name: str) -> str:
    """What stands there now. Raises ValueError for a page without exactly one such place."""
    found = _place(name).findall(page)
    if len(found) != 1:
        raise ValueError(f"expected one table between <!-- {name} --> and <!-- end -->, found {len(found)}")
    _, text, _ = found[0]
    return str(text)


def with_marked(page: str, name: str, made: str) -> str:
    """``page`` with ``made`` there. Raises ValueError like :func:`marked`."""
    marked(page, name)
    return _place(name).sub(lambda found: f"{found[1]}\n{made.strip()}\n\n{found[3]}", page)


def _place(name: str) -> re.Pattern[str]:
    return re.compile(rf"(<!-- {re.escape(name)} -->\n)(.*?)(<!-- end -->)", re.DOTALL)
