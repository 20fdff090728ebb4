"""The pages that a reader sees, and their blocks."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), ROOT / "docker" / "data" / "README.md"])
FENCE = re.compile(
    r"^(?P<indent> *)```(?P<kind>[\w-]*)[^\n]*\n(?P<text>.*?)^(?P=indent)```\s*$", re.DOTALL | re.MULTILINE
)
SPAN = re.compile(r"(?<!`)`([^`]+)`(?!`)")


@dataclass(frozen=True)
class Block:
    """A fenced block; ``line`` is the first of its text."""

    page: Path
    line: int
    kind: str
    text: str

    @property
    def place(self) -> str:
        return f"{self.page.relative_to(ROOT)}:{self.line}"


def blocks(page: Path) -> Iterator[Block]:
    """The fenced blocks of a page."""
    text = page.read_text(encoding="utf-8")
    for found in FENCE.finditer(text):
        yield Block(page, text.count("\n", 0, found.start("text")) + 1, found["kind"], found["text"])


def spans(page: Path) -> Iterator[Block]:
    """The code within sentences; a span may go over a line's end."""
    text = FENCE.sub(lambda found: "\n" * found[0].count("\n"), page.read_text(encoding="utf-8"))
    for found in SPAN.finditer(text):
        yield Block(page, text.count("\n", 0, found.start()) + 1, "", " ".join(found[1].split()))


def lines(block: Block) -> Iterator[str]:
    """Command lines, continued ones joined, without comments and prompts."""
    joined = re.sub(r"\\\n\s*", " ", block.text)
    for line in joined.splitlines():
        yield re.sub(r"\s+#\s.*$", "", line).strip().removeprefix("$ ")
