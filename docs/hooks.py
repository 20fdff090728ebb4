"""What MkDocs does to our pages: formulas become MathML, and SECURITY.md becomes a page of the site."""

from __future__ import annotations

import re
from html import unescape
from pathlib import Path

from latex2mathml.converter import convert

ROOT = Path(__file__).resolve().parents[1]
FORMULA = re.compile(r'<(span|div) class="arithmatex">\\([(\[])(.*?)\\[)\]]</\1>', re.DOTALL)


def on_page_markdown(markdown: str, page: object, **_: object) -> str:
    """The page `security.md` holds the repository's SECURITY.md; links point from the folder of the site."""
    path = page.file.src_uri  # type: ignore[attr-defined]
    if path == "security.md":
        markdown = (ROOT / "SECURITY.md").read_text(encoding="utf-8").replace("](docs/", "](")
    return markdown


def on_page_content(html: str, **_: object) -> str:
    """Formulas as MathML, which browsers draw by themselves."""

    def formula(found: re.Match[str]) -> str:
        return convert(unescape(found[3]), display="block" if found[2] == "[" else "inline")

    return FORMULA.sub(formula, html)
