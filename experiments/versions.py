"""What is installed, for `fedsieve --version` and for who reports a fault."""

from __future__ import annotations

import platform
import tomllib
from importlib.metadata import PackageNotFoundError
from importlib.metadata import version as installed

from experiments.shipped import HOME


def version() -> str:
    """``fedsieve 0.1.0 (Python 3.11.7, PyTorch 2.13.0, Flower 1.34.0)``."""
    return (
        f"fedsieve {own()} (Python {platform.python_version()}, PyTorch {of('torch')}, Flower {of('flwr')})"
    )


def own() -> str:
    """The version of FedSieve: of the package, or of the checkout that is run in place of one."""
    project = HOME / "pyproject.toml"
    if project.is_file():
        return str(tomllib.loads(project.read_text(encoding="utf-8"))["project"]["version"])
    return of("fedsieve")


def of(package: str) -> str:
    """The version of an installed package; ``none`` without it."""
    try:
        return installed(package)
    except PackageNotFoundError:
        return "none"
