"""A small Flower app in a folder of its own: every node adds its number to what it is sent."""

from __future__ import annotations

from pathlib import Path

PROJECT = """
[build-system]
requires = ["hatchling"]
build-backend = "hatchling.build"

[project]
name = "toyapp"
version = "1.0.0"
license = "Apache-2.0"
dependencies = ["flwr"]

[tool.hatch.build.targets.wheel]
packages = ["."]

[tool.flwr.app]
publisher = "fedsieve"
flwr-version-target = "1.34.0"

[tool.flwr.app.components]
serverapp = "toyapp.server:app"
clientapp = "toyapp.client:app"

[tool.flwr.app.config]
nodes = 4
rounds = 3
floats = 1000
deadline = 20.0
bonus = 0.5
fail = -1
slow = -1
"""

CLIENT = """
import os, time
import numpy as np
from flwr.app import Array, ArrayRecord, ConfigRecord, Message, RecordDict
from flwr.clientapp import ClientApp

app = ClientApp()

@app.train()
def train(message, context):
    number, round_ = int(context.node_config["number"]), int(message.metadata.group_id)
    if number == context.run_config["fail"]:
        raise ValueError("toy failure")
    if number == context.run_config["slow"] and round_ == 2:
        print("SLEEPING", flush=True)
        time.sleep(600)
    seen = context.state["seen"]["n"] + 1 if "seen" in context.state else 1
    context.state["seen"] = ConfigRecord({"n": seen})
    w = message.content["w"]["w"].numpy() + number + context.run_config["bonus"]
    told = ConfigRecord({"seen": seen, "pid": os.getpid()})
    return Message(RecordDict({"w": ArrayRecord({"w": Array(w)}), "c": told}), reply_to=message)
"""

SERVER = """
import json, time
import numpy as np
from flwr.app import Array, ArrayRecord, Message, RecordDict
from flwr.serverapp import ServerApp
from transport.exchange import exchange

app = ServerApp()

@app.main()
def main(grid, context):
    config = context.run_config
    while len(ids := sorted(grid.get_node_ids())) < config["nodes"]:
        time.sleep(0.1)
    w = np.zeros(config["floats"], np.float32)
    for round_ in range(1, config["rounds"] + 1):
        content = RecordDict({"w": ArrayRecord({"w": Array(w)})})
        start = time.monotonic()
        sent = [Message(content, i, "train", group_id=str(round_)) for i in ids]
        replies = exchange(grid, sent, config["deadline"])
        seconds = time.monotonic() - start
        good = [r for r in replies if r.has_content()]
        w = np.mean([r.content["w"]["w"].numpy() for r in good], axis=0)
        line = {
            "round": round_, "seconds": seconds, "good": len(good),
            "errors": [f"{r.error.code} {r.error.reason}" for r in replies if r.has_error()],
            "w": float(w[0]), "seen": [int(r.content["c"]["seen"]) for r in good],
            "pids": [int(r.content["c"]["pid"]) for r in good],
        }
        print("ROUND " + json.dumps(line), flush=True)
    print("DONE", flush=True)
"""


def write_toy(folder: Path) -> Path:
    """Write the app and return its folder, which is also what PYTHONPATH needs."""
    package = folder / "toyapp"
    package.mkdir(parents=True)
    (folder / "pyproject.toml").write_text(PROJECT)
    (package / "__init__.py").write_text("")
    (package / "client.py").write_text(CLIENT)
    (package / "server.py").write_text(SERVER)
    return folder
