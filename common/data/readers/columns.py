"""Which column of a log is the user, the item and the time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from common.errors import DataError

USER = ("user", "user_id", "userid", "uid", "device", "visitorid", "reviewerid", "session_id", "sessionid")
ITEM = ("item", "item_id", "itemid", "iid", "movie_id", "movieid", "product_id", "productid", "asin")
TIME = ("timestamp", "time", "ts", "unix_time", "unixtime", "unixreviewtime", "timestamps")


@dataclass(frozen=True)
class Columns:
    """Positions of the columns, counted from 0; ``time`` is None where the log has none."""

    user: int
    item: int
    time: int | None


def find(file: object, header: Sequence[str]) -> Columns:
    """Match column names without regard to case, spaces and RecBole's ``:type`` ending.

    Raises :class:`DataError` with the columns found and the names accepted.
    """
    plain = [name.split(":")[0].strip().lower().replace(" ", "_") for name in header]

    def position(accepted: tuple[str, ...]) -> int | None:
        hits = [i for i, name in enumerate(plain) if name in accepted]
        if len(hits) > 1:
            found = ", ".join(header[i] for i in hits)
            raise DataError(file, f"expected one column of {', '.join(accepted)}; found {found}", 1)
        return hits[0] if hits else None

    user, item, time = position(USER), position(ITEM), position(TIME)
    if user is None or item is None:
        raise DataError(
            file,
            f"expected a user column ({', '.join(USER)}) and an item column ({', '.join(ITEM)}), "
            f"with or without a time column ({', '.join(TIME)}); found {', '.join(header) or 'none'}",
            line=1,
        )
    return Columns(user, item, time)
