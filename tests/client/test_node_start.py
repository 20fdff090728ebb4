"""A warm node has imported what its first round needs before it says that it is there."""

from __future__ import annotations

import subprocess
import sys

CODE = """
import sys
from client.node import load_app
app = load_app("client.app", "app")
assert "torch._dynamo" in sys.modules
from client.app import app as same
assert app is same
before = set(sys.modules)
import torch
torch.func.vmap(torch.func.grad(lambda x: (x * x).sum()))(torch.ones(2, 3))
late = set(sys.modules) - before
assert len(late) < 20, sorted(late)
"""


def test_the_first_gradient_imports_next_to_nothing() -> None:
    done = subprocess.run([sys.executable, "-c", CODE], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_an_app_without_torch_does_not_bring_it() -> None:
    code = (
        "import sys; from client.node import load_app as f; f('json', 'dumps'); print('torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
