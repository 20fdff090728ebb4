"""Every Python block on a page is run: here, or by a test that is named here."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import chdir
from pathlib import Path

import pytest

from emulation.federation import federate
from tests.docs.pages import PAGES, ROOT, Block, blocks
from tests.server.federation import config

FOUND = [block for page in PAGES for block in blocks(page) if block.kind in ("python", "py", "pycon")]
ELSEWHERE = {
    "docs/api.md": "tests/fedsieve/test_examples.py",
    "docs/extending.md": "tests/experiments/test_outside_components.py",
}
"""Pages whose blocks need a longer stage: a shortened run, a package around them."""


def name(block: Block) -> str:
    return block.page.relative_to(ROOT).as_posix()


HERE = [block for block in FOUND if name(block) not in ELSEWHERE]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The current folder of a reader who has made the run of the page."""
    place = tmp_path_factory.mktemp("reader")
    federate(config("attack.name=sign_flip", "attack.share=0.25", "train.rounds=2"), place / "runs" / "look")
    with chdir(place):
        yield place


@pytest.mark.parametrize("block", HERE, ids=[b.place for b in HERE])
def test_a_block_runs(block: Block, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    exec(compile(block.text, block.place, "exec"), {"__name__": "page"})
    assert "print(" not in block.text or capsys.readouterr().out.strip()


def test_blocks_that_run_elsewhere_are_read_there() -> None:
    assert {name(block) for block in FOUND} >= set(ELSEWHERE)
    for page, test in ELSEWHERE.items():
        assert Path(page).name in (ROOT / test).read_text(encoding="utf-8"), page
    assert HERE
