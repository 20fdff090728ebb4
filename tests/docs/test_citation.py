"""What a paper cites is what is released."""

from __future__ import annotations

import tomllib
from pathlib import Path

import yaml


def test_the_version_to_cite_is_that_of_the_package() -> None:
    cited = yaml.safe_load(Path("CITATION.cff").read_text(encoding="utf-8"))
    released = tomllib.loads(Path("pyproject.toml").read_text(encoding="utf-8"))["project"]["version"]
    assert cited["version"] == released
    assert f"## {released}" in Path("CHANGELOG.md").read_text(encoding="utf-8")
