"""The site builds without a warning: no page without a place, no link to nowhere, nothing from elsewhere."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.docs.pages import PAGES, ROOT

pytest.importorskip("mkdocs", reason="the extra docs is not installed: make test EXTRAS=all")
pytest.importorskip("latex2mathml", reason="the extra docs is not installed: make test EXTRAS=all")


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(folder)]
    env = {**os.environ, "NO_MKDOCS_2_WARNING": "1"}
    done = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


def test_every_page_is_in_the_site(site: Path) -> None:
    pages = [page.relative_to(ROOT / "docs") for page in PAGES if page.is_relative_to(ROOT / "docs")]
    assert [page for page in pages if not (site / page.with_suffix(".html")).is_file()] == []


def test_a_page_loads_nothing_from_elsewhere(site: Path) -> None:
    loads = re.compile(r'<(?:script|img|link|iframe)[^>]+(?:src|href)="(https?://[^"]+)"')
    for page in site.rglob("*.html"):
        found = [url for url in loads.findall(page.read_text(encoding="utf-8")) if "canonical" not in url]
        assert found == [], page


def test_formulas_are_drawn_by_the_browser_alone(site: Path) -> None:
    text = (site / "method.html").read_text(encoding="utf-8")
    assert text.count("<math") > 50
    assert 'class="arithmatex"' not in text
