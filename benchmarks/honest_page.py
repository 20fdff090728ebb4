"""``docs/results/honest.md``: what the sieve leaves of honest updates, as a table and a picture."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from benchmarks.marks import with_marked
from experiments.report.drawing.colours import COLOURS

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "results" / "honest.md"
PICTURE = ROOT / "docs" / "figures" / "honest.svg"
LINES = {"row is next item": "next item alone", "row is both": "both", "row is input": "input alone"}
"""What is drawn: the rows that a device learns from, by role."""
WIDTH, HEIGHT = 150, 120
"""Of one log's frame, in units of the picture."""

Found = Mapping[str, Sequence[Mapping[str, float]]]
"""Log -> for each round, label -> share left."""


def write(rounds: Sequence[int], found: Found) -> None:
    """Write the page's table and its picture anew."""
    page = PAGE.read_text(encoding="utf-8")
    PAGE.write_text(with_marked(page, "honest", table(rounds, found)), encoding="utf-8")
    PICTURE.write_text(picture(rounds, found), encoding="utf-8")


def table(rounds: Sequence[int], found: Found) -> str:
    """A row a label, a column a log with its rounds in order."""
    labels = list(next(iter(found.values()))[0])
    at = ", ".join(map(str, rounds))
    rows = [
        f"| left of honest updates, %, at rounds {at} | {' | '.join(found)} |",
        f"|---{'|---' * len(found)}|",
    ]
    for label in labels:
        cells = (", ".join(f"{100 * column[label]:.1f}" for column in columns) for columns in found.values())
        rows.append(f"| {label} | {' | '.join(cells)} |")
    return "\n".join(rows) + "\n"


def picture(rounds: Sequence[int], found: Found) -> str:
    """A frame a log: energy that the row clip leaves over the rounds, a line a role."""
    first, last = min(rounds), max(rounds)
    parts = []
    for number, (log, columns) in enumerate(found.items()):
        left = 50 + number * (WIDTH + 30)
        parts.append(f'  <text class="t h" x="{left}" y="30">{log}</text>')
        for share in (0, 50, 100):
            at = 40 + HEIGHT * (1 - share / 100)
            parts.append(f'  <path class="g" d="M{left} {at:.0f}h{WIDTH}"/>')
            if number == 0:
                parts.append(f'  <text class="t r" x="{left - 6}" y="{at + 4:.0f}">{share} %</text>')
        for colour, label in zip(COLOURS, LINES, strict=False):
            x = [left + WIDTH * (at - first) / max(1, last - first) for at in rounds]
            y = [40 + HEIGHT * (1 - column[label]) for column in columns]
            points = " ".join(f"{a:.1f},{b:.1f}" for a, b in zip(x, y, strict=True))
            parts.append(f'  <polyline fill="none" stroke="{colour}" stroke-width="2" points="{points}"/>')
        parts.append(f'  <text class="t" x="{left}" y="{HEIGHT + 56}">round {first}</text>')
        parts.append(f'  <text class="t r" x="{left + WIDTH}" y="{HEIGHT + 56}">{last}</text>')
    for number, (colour, name) in enumerate(zip(COLOURS, LINES.values(), strict=False)):
        start, line = 50 + 170 * number, HEIGHT + 80
        parts.append(f'  <path stroke="{colour}" stroke-width="2" d="M{start} {line - 4}h20"/>')
        parts.append(f'  <text class="t" x="{start + 26}" y="{line}">{name}</text>')
    width = 50 + len(found) * (WIDTH + 30)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {HEIGHT + 95}" '
        'font-family="system-ui, sans-serif" font-size="12" role="img" '
        'aria-label="Energy of honest rows that the row clip leaves, by log, round and role">\n'
        "  <style>.t { fill: #1a1a1a } .r { text-anchor: end } .h { font-weight: 600 } "
        ".g { stroke: #d5d9de }</style>\n"
        f'  <rect width="{width}" height="{HEIGHT + 95}" fill="#fff"/>\n' + "\n".join(parts) + "\n</svg>\n"
    )
