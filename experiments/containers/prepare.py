"""``setup``: check the settings, fetch the data, make certificates, and clear what an earlier run left."""

from __future__ import annotations

import os

from rich.console import Console

from attacks import build_attack
from client.regularisers import build_regularisers
from common.data import Dataset, load
from common.models import build_model
from common.printable import printable
from emulation.targets import with_targets
from experiments.containers.places import CONTROL_HOST, FLEET_HOST, SIDES, Places
from experiments.containers.settings import Wanted, wanted
from experiments.identity import make_authority, make_server
from server.round.pipeline import Pipeline

HOSTS = (FLEET_HOST, CONTROL_HOST, "localhost", "127.0.0.1")


def prepare(places: Places, console: Console) -> None:
    """Everything that must be right before any other container starts.

    A wrong setting ends it here, with the name of the variable. Raises FedSieveError.
    """
    for old in (places.over, *(places.plan(side) for side in SIDES)):
        old.unlink(missing_ok=True)
    asked = wanted(os.environ)
    data = load(asked.config.data.name, asked.config.data.path)
    check(asked, data)
    console.print(
        f"{printable(data.name)}: {len(data):,} devices, {data.num_items:,} items",
        markup=False,
        highlight=False,
    )
    authority = places.authority / "ca.key"
    make_authority(authority, places.certificate)
    new = make_server(
        places.server / "server.key", places.server / "server.pem", (authority, places.certificate), HOSTS
    )
    console.print(f"certificates: {'a private CA signed a new one' if new else 'kept from an earlier start'}")


def check(asked: Wanted, data: Dataset) -> None:
    """Build once what the run will build, so that a wrong name is told now. Raises FedSieveError."""
    config = with_targets(asked.config, data)
    build_regularisers(config.client.regularisers)
    build_attack("control" if config.attack.name == "none" else config.attack.name, config.attack.params)
    build_model(config.model)
    Pipeline.build(config, data.num_items)
