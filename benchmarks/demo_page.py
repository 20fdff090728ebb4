"""What ``fedsieve demo`` found, as the README and the first page show it: two tables and a picture.

``python -m benchmarks.demo_page runs/demo`` writes README.md, docs/index.md and docs/figures/demo.svg anew
from ``demo.json`` of a finished demo.
"""

from __future__ import annotations

import argparse
import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PAGES = ("README.md", "docs/index.md")
PICTURE = "docs/figures/demo.svg"
HEAD = "| test items of the honest users | HR@10 | NDCG@10 | ER@10 |\n|---|---|---|---|\n"
TABLE = re.compile(re.escape(HEAD) + r"(?:\|.*\|\n)+")
WIDTH = 200
"""Of the longest bar, in units of the picture."""

Found = Mapping[str, Mapping[str, float]]


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, help="what fedsieve demo wrote, runs/demo by default there")
    found = json.loads((parser.parse_args(arguments).folder / "demo.json").read_text(encoding="utf-8"))
    for page in PAGES:
        place = ROOT / page
        place.write_text(with_table(place.read_text(encoding="utf-8"), found), encoding="utf-8")
    (ROOT / PICTURE).write_text(picture(found), encoding="utf-8")


def with_table(page: str, found: Found) -> str:
    """``page`` with its table anew. Raises ValueError for a page without one."""
    if len(TABLE.findall(page)) != 1:
        raise ValueError("expected one table of the demo")
    return TABLE.sub(lambda _: table(found), page)


def table(found: Found) -> str:
    rows = []
    for name, figures in found.items():
        exposed = f"{figures['er@10']:.1%}" if "er@10" in figures else "–"
        rows.append(f"| {name} | {figures['hr@10']:.4f} | {figures['ndcg@10']:.4f} | {exposed} |\n")
    return HEAD + "".join(rows)


def picture(found: Found) -> str:
    """Two columns of bars, accuracy and exposure, a row a trained model; of the digits that the table has."""
    models = {
        name: {"ndcg@10": round(figures["ndcg@10"], 4), "er@10": round(figures["er@10"], 3)}
        for name, figures in found.items()
        if "er@10" in figures
    }
    most = max(figures["ndcg@10"] for figures in models.values())
    rows = []
    for number, (name, figures) in enumerate(models.items()):
        top, line = 48 + 45 * number, 63 + 45 * number
        accuracy, exposed = figures["ndcg@10"], figures["er@10"]
        text = f"{accuracy:.3f}".removeprefix("0")
        long, hit = round(WIDTH * accuracy / most), round(WIDTH * exposed)
        rows.append(
            f'  <text class="t r" x="185" y="{line}">{name}</text>'
            f'<rect class="n" x="200" y="{top}" width="{long}" height="22" rx="3"/>'
            f'<text class="t" x="{208 + long}" y="{line}">{text}</text>\n'
            f'  <rect class="g" x="490" y="{top}" width="{WIDTH}" height="22" rx="3"/>'
            f'<rect class="e" x="490" y="{top}" width="{hit}" height="22" rx="3"/>'
            f'<text class="t" x="{498 + WIDTH}" y="{line}">{exposed:.0%}</text>\n'
        )
    height = 55 + 45 * len(models)
    label = "NDCG@10 and ER@10 in the demo: " + ", ".join(models)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 760 {height}" '
        f'font-family="system-ui, sans-serif" font-size="13" role="img" aria-label="{label}">\n'
        "  <style>.t { fill: #1a1a1a } .r { text-anchor: end } .h { font-weight: 600 } .n { fill: #3f51b5 } "
        ".e { fill: #e65100 } .g { fill: #eceff1 }</style>\n"
        f'  <rect width="760" height="{height}" fill="#fff"/>\n'
        '  <text class="t h" x="200" y="28">NDCG@10: accuracy</text>'
        '<text class="t h" x="490" y="28">ER@10: users who get the promoted film</text>\n'
        f"{''.join(rows)}</svg>\n"
    )


if __name__ == "__main__":
    main()
