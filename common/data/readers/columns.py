"""Which column of a log is the user, the item, the time, the rating and the event."""

from __future__ import annotations

import re
from collections.abc import Sequence

from common.errors import DataError, choices
from common.preparation import Preparation

KNOWN: dict[str, tuple[str, ...]] = {
    "user": (
        "user user_id uid device device_id visitor visitor_id customer customer_id member member_id account "
        "account_id client_id reviewer reviewer_id person_id player_id profile_id session session_id",
        "username user_name login",
    ),
    "item": (
        "item item_id iid movie movie_id product product_id asin parent_asin track track_id song song_id "
        "artist artist_id article article_id news news_id book book_id isbn game game_id app app_id business "
        "business_id gmap_id poi poi_id venue venue_id location_id place_id recipe recipe_id beer beer_id "
        "anime anime_id video video_id show show_id content content_id listing_id goods_id sku ad_id",
    ),
    "time": (
        "timestamp timestamps timestamp_ms timestamp_s time_ms ts unix_time unix_timestamp unix_review_time "
        "epoch event_timestamp",
        "time datetime date date_time created_at created event_time event_date review_time review_date "
        "click_time visit_time played_at listened_at watched_at purchase_date order_date utc_time",
    ),
    "rating": ("rating ratings stars score overall rate", "value"),
    "event": (
        "event event_type behavior behaviour behavior_type behaviour_type action action_type "
        "interaction_type",
        "type",
    ),
}
"""Role -> names, the first line before the second; case, blanks, ``_`` and RecBole's type do not count."""

HINTS = "time", "date", "stamp", "epoch", "when", "created"
"""What a column of times may have in its name."""
SHOWN = 20
"""Columns that an error lists."""


def plain(name: str) -> str:
    """A column's name as names are compared: ``User ID``, ``userId`` and ``user_id:token`` are one."""
    return re.sub(r"[\s_.\-]", "", name.split(":")[0].strip("\ufeff\"'").lower())


_TIERS = {role: [{plain(one) for one in tier.split()} for tier in tiers] for role, tiers in KNOWN.items()}


def recognised(header: Sequence[str], prepare: Preparation) -> bool:
    """Whether ``header`` names a user and an item; it is none otherwise, or split at a wrong character."""
    return all(hits(header, role, prepare) for role in ("user", "item"))


def hits(header: Sequence[str], role: str, prepare: Preparation) -> list[int]:
    """The columns that may be ``role``: those of ``data.columns``, or of the first names that fit any."""
    wanted = dict(prepare.columns).get(role)
    names = [plain(name) for name in header]
    if isinstance(wanted, int):
        return [wanted - 1] if wanted <= len(header) else []
    if wanted is not None:
        exact = [i for i, name in enumerate(header) if name.strip() == wanted]
        return exact or [i for i, name in enumerate(names) if name == plain(wanted)]
    taken = {i for other, _ in prepare.columns if other != role for i in hits(header, other, prepare)}
    for tier in _TIERS[role]:
        if some := [i for i, name in enumerate(names) if name in tier and i not in taken]:
            return some
    return []


def find(file: object, header: Sequence[str], prepare: Preparation, line: int | None = 1) -> dict[str, int]:
    """Role -> position from 0, of the roles that ``prepare`` reads.

    Raises :class:`DataError` for a role without a column, or with several, and says how to choose.
    """
    found = {}
    for role in prepare.roles:
        some = hits(header, role, prepare)
        if len(some) == 1:
            found[role] = some[0]
        else:
            raise DataError(file, _problem(header, role, some, prepare), line)
    return found


def _problem(header: Sequence[str], role: str, some: Sequence[int], prepare: Preparation) -> str:
    listed = ", ".join(name[:40] for name in header[:SHOWN]) or "none"
    if len(header) > SHOWN:
        listed += f" and {len(header) - SHOWN} more"
    if some:
        names = [header[i].strip() for i in some[:SHOWN]]
        several = ", ".join(names)
        if twice := next((name for name in names if names.count(name) > 1), ""):
            return f"{names.count(twice)} columns are called {twice}; rename all but the {role}"
        return f"{several} may each be the {role}; choose with data.columns.{role}={names[0]}"
    wanted = dict(prepare.columns).get(role)
    if wanted is not None:
        valid = choices(wanted, list(header)) if isinstance(wanted, str) else f"; there are {len(header)}"
        return f"data.columns.{role}: no column {wanted!r}{valid}"
    if role in ("user", "item"):
        names = KNOWN[role][0].split()[:3]
        return (
            f"expected a user column and an item column; no {role} ({', '.join(names)}, …) among {listed}; "
            f"name it with data.columns.{role}=NAME"
        )
    if role == "time":
        likely = next((name for name in header if any(hint in name.lower() for hint in HINTS)), "NAME")
        return (
            f"no time column (timestamp, date, …) among {listed}; name it with "
            f"data.columns.time={likely}, or take the order of the file with data.order=file"
        )
    setting = {"rating": "data.min_rating", "event": "data.events"}[role]
    return f"{setting} needs a column of {role}s, none among {listed}; name it with data.columns.{role}=NAME"
