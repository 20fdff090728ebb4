"""Tables of docs that a command writes: what stands between ``<!-- NAME -->`` and ``<!-- end -->``."""

from __future__ import annotations

import re


def marked(page: str, name: str) -> str:
    """What stands there now. Raises ValueError for a page without exactly one such place."""
    found = re.findall(_place(name), page, re.DOTALL)
    if len(found) != 1:
        raise ValueError(f"expected one table between <!-- {name} --> and <!-- end -->, found {len(found)}")
    return str(found[0])


def with_marked(page: str, name: str, made: str) -> str:
    """``page`` with ``made`` there. Raises ValueError like :func:`marked`."""
    marked(page, name)
    return re.sub(_place(name), lambda _: f"\n{made.strip()}\n\n", page, flags=re.DOTALL)


def _place(name: str) -> str:
    return rf"(?<=<!-- {re.escape(name)} -->\n).*?(?=<!-- end -->)"
