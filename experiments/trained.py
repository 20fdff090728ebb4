"""A finished run, opened again: its settings, its model, and the catalogue it speaks about."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from client.ranking import score
from common.codes import codes_of
from common.config import RunConfig
from common.data import CATALOGUE, Dataset, load, read_catalogue
from common.data.names import Names
from common.data.ragged import Ragged
from common.data.shards import titles_of
from common.data.types import Items, Times
from common.errors import CheckpointError, ConfigError, DataError, RunError, nearest_file
from common.homes import expanded
from common.models import Layout, build_model, layout_of
from common.settings import validate
from common.tasks import GlobalModel
from experiments.run_files import read_summary
from server.records.begun import MODEL, RECIPE


@dataclass(frozen=True)
class Trained:
    """Settings and parameters of a finished run."""

    folder: Path
    config: RunConfig
    parameters: GlobalModel

    @property
    def num_items(self) -> int:
        return self.parameters.num_items

    @property
    def layout(self) -> Layout:
        return layout_of(self.encoder())

    def encoder(self) -> nn.Module:
        """The encoder as a module that holds the trained parameters."""
        module = build_model(self.config.model).eval()
        module.load_state_dict(layout_of(module).unflatten(self.parameters.encoder))
        return module

    @property
    def timed(self) -> bool:
        """Whether the model reads the time of each interaction."""
        return bool(getattr(self.encoder(), "timed", False))

    def scores(self, history: Items, seconds: Times | None = None) -> Tensor:
        """The score of every item after ``history``: float32 [N + 1], place 0 meaningless.

        ``seconds`` of each interaction, for a model that reads them; without, all are as at one time.
        """
        times = None if seconds is None else Ragged.of([seconds], np.float64)
        with torch.no_grad():
            return score(self.encoder(), self.parameters, [history], self.config.model.max_len, times)[0]


@dataclass(frozen=True)
class Catalogue:
    """What the items are called: ``ids[i − 1]`` is the log's own id of item i, ``titles`` may lack some."""

    name: str
    ids: Sequence[str]
    titles: Mapping[int, str]
    log: Dataset | None = None

    def title(self, number: int) -> str:
        return self.titles.get(number, "")


def unfinished(folder: Path) -> RunError:
    """What to raise for the folder of a run that has begun and not ended: how to go on with it."""
    if (folder / RECIPE).is_file():
        return RunError(f"the centralised run in {folder} was stopped; such a run begins anew")
    return RunError(f"the run in {folder} is not finished: fedsieve run --resume --out {folder}")


def open_run(folder: Path) -> Trained:
    """The model that ``fedsieve run`` left in ``folder``.

    Raises RunError where there is no finished run, CheckpointError for a damaged model.
    """
    path = folder / MODEL
    if not path.is_file():
        if (folder / "config.yaml").is_file():
            raise unfinished(folder)
        raise RunError(
            f"--run {folder}: no run there; expected a folder that `fedsieve run` wrote{nearest_file(folder)}"
        )
    try:
        with safe_open(path, framework="pt") as file:
            meta = file.metadata()
            config = validate(json.loads(meta["config"]))
            codes = codes_of(config.model, int(meta["num_items"])) if config.model.code_books else None
            parameters = GlobalModel(file.get_tensor("encoder"), file.get_tensor("item_table"), codes)
    except (SafetensorError, OSError, KeyError, TypeError, ValueError, ConfigError) as error:
        raise CheckpointError(f"{path} is damaged or of another version: {error}") from error
    wanted = (layout_of(build_model(config.model)).total, config.model.dim)
    found = (parameters.encoder.numel(), parameters.table.shape[-1])
    if found != wanted:
        raise CheckpointError(f"{path} is damaged: encoder size and width {found}, expected {wanted}")
    if not all(bool(torch.isfinite(t).all()) for t in (parameters.encoder, parameters.table)):
        raise RunError(f"the model in {folder} has values that are not finite: the run diverged")
    return Trained(folder, config, parameters)


def at_hand(config: RunConfig, folder: Path) -> RunConfig:
    """``config`` with its log where the run in ``folder`` had it, whatever the working folder is now.

    A relative path is one from where the run was started, which its summary says.
    """
    if not relative(config):
        return config
    try:
        path = Path(read_summary(folder).get("started_in", "")) / config.data.path
    except (OSError, CheckpointError):
        return config
    data = config.data.model_copy(update={"path": str(path)})
    return config.model_copy(update={"data": data}) if path.is_file() else config


def relative(config: RunConfig) -> bool:
    """Whether the log is a file whose path depends on the working folder."""
    data = config.data
    return bool(data.path) and data.name != "synthetic" and not expanded(data.path).is_absolute()


def catalogue(run: Trained) -> Catalogue:
    """The items of the run's data. Raises DataError, and RunError if it is not what the run had."""
    data = at_hand(run.config, run.folder).data
    file = expanded(data.path) if data.path else None
    if file is not None and relative(run.config) and not file.is_file():
        raise DataError(
            data.path,
            "is not here: the path is relative to the folder that the run was started in; "
            "call this from there",
        )
    if file is not None and file.name == CATALOGUE:
        frame = read_catalogue(file)
        found = Catalogue(data.name, Names.of(frame["id"]), titles_of(frame))
    else:
        log = load(data.name, data.path, prepare=data.preparation)
        found = Catalogue(log.name, log.item_ids, log.titles, log)
    if len(found.ids) != run.num_items:
        raise RunError(
            f"the run in {run.folder} knows {run.num_items} items, {data.path or data.name} has "
            f"{len(found.ids)}: it is not the log of this run"
        )
    return found
