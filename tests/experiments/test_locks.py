"""requirements/*.lock: each dependency of pyproject.toml in a version that is allowed, each with hashes."""

from __future__ import annotations

import re
import tomllib

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from experiments.shipped import HOME as ROOT

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
DEPENDENCIES: list[str] = PROJECT["project"]["dependencies"]
EXTRAS: dict[str, list[str]] = PROJECT["project"]["optional-dependencies"]
WISHES = {
    "run": [*DEPENDENCIES, *EXTRAS["server"], *EXTRAS["report"]],
    "dev": [*DEPENDENCIES, *EXTRAS["server"], *EXTRAS["report"], *EXTRAS["dev"], "byzfl==0.0.11"],
    "all": [*DEPENDENCIES, *(wish for extra in EXTRAS.values() for wish in extra), "byzfl==0.0.11"],
}
HASHES = r"(\s+--hash=sha256:[0-9a-f]{64})+"


def locked(name: str) -> dict[str, str]:
    """Versions of a lock by name. Fails on an entry without a hash, or that is no plain ``name==version``."""
    versions = {}
    text = (ROOT / "requirements" / f"{name}.lock").read_text().replace("\\\n", " ")
    entries = [line for line in text.splitlines() if line and not line.startswith("#")]  # torch is told last
    for entry in entries:
        assert re.fullmatch(rf"[^;\s]+( ; [^\\]+?)?{HASHES}", entry), entry
        wish = Requirement(re.sub(HASHES, "", entry))
        (pin,) = wish.specifier
        assert pin.operator == "==", entry
        versions[canonicalize_name(wish.name)] = pin.version
    return versions


@pytest.mark.parametrize("name", WISHES)
def test_a_lock_has_what_pyproject_asks_for(name: str) -> None:
    versions = locked(name)
    for text in WISHES[name]:
        wish = Requirement(text)
        if wish.name in ("torch", "fedsieve"):  # torch has no hash; an extra of our own is taken apart above
            continue
        version = versions.get(canonicalize_name(wish.name))
        assert version is not None, f"{wish.name}: not in requirements/{name}.lock; run `make lock`"
        assert version in wish.specifier, f"{text}: requirements/{name}.lock has {version}; run `make lock`"


def test_locks_agree() -> None:
    everything = locked("all")
    for name in ("run", "dev"):
        assert locked(name).items() <= everything.items(), name


def test_what_torch_needs_besides_is_locked() -> None:
    (torch,) = PROJECT["tool"]["uv"]["constraint-dependencies"]
    (wish,) = (wish for wish in map(Requirement, DEPENDENCIES) if wish.name == "torch")
    assert wish.specifier.contains(torch.removeprefix("torch=="))
    metadata = {entry["name"]: entry for entry in PROJECT["tool"]["uv"]["dependency-metadata"]}["torch"]
    assert torch == f"torch=={metadata['version']}"
    assert f"ARG TORCH={metadata['version']}\n" in (ROOT / "docker" / "Dockerfile").read_text()
    names = {canonicalize_name(Requirement(wish).name) for wish in metadata["requires-dist"]}
    assert names <= locked("run").keys()
