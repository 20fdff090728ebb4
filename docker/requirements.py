"""Print the dependencies of a pyproject.toml, one a line, for a layer of the image of their own."""

from __future__ import annotations

import sys
import tomllib
from pathlib import Path

if __name__ == "__main__":
    project = tomllib.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))["project"]
    print("\n".join(project["dependencies"]))
