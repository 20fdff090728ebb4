"""What an optional part of FedSieve needs, said in one line where it is not installed."""

from __future__ import annotations

from common.errors import ConfigError

EXTRAS = {
    "report": ("jinja2", "kaleido", "plotly", "tensorboard"),
    "server": ("prometheus_client",),
}
"""Extra of ``pyproject.toml`` -> the packages that it installs."""


def lacks(extra: str, error: ImportError) -> bool:
    """Whether this import failed for want of a package of ``extra``."""
    return isinstance(error, ModuleNotFoundError) and (error.name or "").split(".")[0] in EXTRAS[extra]


def install(extra: str) -> str:
    """The command that gets ``extra``."""
    return f"pip install 'fedsieve[{extra}]'"


def needed(extra: str, what: str, error: ImportError) -> ConfigError:
    """The error for ``what`` cannot be done without ``extra``; another import error is raised as it is."""
    if not lacks(extra, error):
        raise error
    return ConfigError(f"{what} needs {error.name}: {install(extra)}")
