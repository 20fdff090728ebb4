"""``fedsieve export``: a trained model for use without this project."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from safetensors.torch import save

from common.errors import ConfigError, RunError, UnknownName
from experiments.trained import Catalogue, Trained, catalogue
from server.records.checkpoint import leftovers, write_atomically

WEIGHTS, GRAPH, ABOUT, NAMES, README = (
    "recommender.safetensors",
    "recommender.onnx",
    "architecture.json",
    "items.json",
    "README.md",
)
TIMED = (
    "; this model reads times: encoder(…, gaps=gaps) with gaps [max_len] the seconds since the item before, "
    "0 for the first and for padding"
)
SCORE = (
    "score[i] = h · item_table[i] with h the last row of encoder(item_table[items], items == 0); "
    "items: the latest max_len item numbers, oldest first, padded on the left with 0; "
    "skip score[0] and, if wanted, the items of the history"
)


def weights(run: Trained) -> bytes:
    """``encoder.NAME`` for every parameter of the encoder, and ``item_table`` [N + 1, d]."""
    named = run.layout.unflatten(run.parameters.encoder)
    tensors = {f"encoder.{name}": tensor.contiguous() for name, tensor in named.items()}
    return save({**tensors, "item_table": run.parameters.embeddings.contiguous()})


def graph(run: Trained) -> bytes:
    """The whole model as an ONNX graph. Raises ConfigError where the extra is not installed."""
    from experiments.export_onnx import graph as drawn

    return drawn(run)


FORMATS: Mapping[str, tuple[str, Callable[[Trained], bytes]]] = {
    "safetensors": (WEIGHTS, weights),
    "onnx": (GRAPH, graph),
}


def export(run: Trained, out: Path, form: str = "safetensors") -> list[Path]:
    """Write the model in one format, its architecture, the items and a README; returns the paths.

    Raises UnknownName for a format, ConfigError for a folder with other files in it, RunError if it
    cannot be written.
    """
    if form not in FORMATS:
        raise UnknownName("format", form, FORMATS)
    own = {WEIGHTS, GRAPH, ABOUT, NAMES, README}
    own |= {part.name for name in own for part in leftovers(out / name)}
    if out.exists() and not out.is_dir():
        raise ConfigError(f"--out {out}: not a folder")
    if out.is_dir() and (others := sorted({p.name for p in out.iterdir()} - own)):
        raise ConfigError(f"--out {out}: holds {others[0]}, which is not of an export; choose another folder")
    name, made = FORMATS[form]
    known, tensors = catalogue(run), weights(run)
    model = hashlib.sha256(tensors).hexdigest()  # tells one trained model from another
    content = {
        name: tensors if made is weights else made(run),
        ABOUT: json.dumps(
            {**architecture(run, known), "digest": model}, indent=2, ensure_ascii=False
        ).encode(),
        NAMES: json.dumps(items(known), indent=0, ensure_ascii=False).encode(),
        README: readme(run).encode(),
    }
    try:
        out.mkdir(parents=True, exist_ok=True)
        if _digest(out) not in ("", model):  # a graph of another model beside these items would mislead
            for file in own & {path.name for path in out.iterdir()}:
                (out / file).unlink()
    except OSError as error:
        raise RunError(f"--out {out}: {error.strerror}") from error
    for file, data in content.items():
        write_atomically(out / file, data)
    return [out / file for file in content]


def _digest(out: Path) -> str:
    """That of the model in ``out``; empty where it holds none, or one that does not say."""
    try:
        return str(json.loads((out / ABOUT).read_bytes())["digest"])
    except (OSError, ValueError, KeyError, TypeError):
        return ""


def architecture(run: Trained, known: Catalogue) -> dict[str, Any]:
    """Everything that is needed to build the model again."""
    model, layout = run.config.model, run.layout
    return {
        "model": model.name,
        "settings": model.model_dump(),
        "num_items": run.num_items,
        "score": SCORE + TIMED * run.timed,
        "tensors": {
            **{f"encoder.{n}": list(shape) for n, shape in zip(layout.names, layout.shapes, strict=True)},
            "item_table": list(run.parameters.embeddings.shape),
        },
        "data": known.name,
        "seed": run.config.seed,
    }


def items(known: Catalogue) -> list[dict[str, Any]]:
    """Number, id and title of every item, in the order of the table's rows from 1 on."""
    return [{"item": i, "id": one, "title": known.title(i)} for i, one in enumerate(known.ids, start=1)]


def readme(run: Trained) -> str:
    """How to use the files; the blocks of code run as they are, in this folder."""
    seconds = "\nseconds = [0.0, 60.0, 3600.0]" if run.timed else ""  # of the example's history
    fit = "([0.0] * length + [0.0, *numpy.diff(seconds)])[-length:]"
    latest = "\ngaps[max(0, length - len(history))] = 0  # none is known before the oldest that is read"
    torch_gaps = f"\ngaps = torch.tensor({fit}).float(){latest}" if run.timed else ""
    graph_gaps = f"\ngaps = numpy.array({fit}, numpy.float32){latest}" if run.timed else ""
    given, fed = (", gaps=gaps", ', "gaps": gaps') if run.timed else ("", "")
    numpy = ", numpy" if run.timed else ""
    return f"""# {run.config.model.name}, trained with FedSieve

`{ABOUT}` says what the model is, `{NAMES}` what its {run.num_items} items are called.
How it scores: {SCORE}{TIMED * run.timed}.

## {WEIGHTS}

```python
import json{numpy}, torch
from pathlib import Path
from safetensors.torch import load_file
from common.config import ModelConfig
from common.models import build_model

about = json.loads(Path("{ABOUT}").read_text())
tensors = load_file("{WEIGHTS}")
table = tensors.pop("item_table")
encoder = build_model(ModelConfig(**about["settings"])).eval()
encoder.load_state_dict({{name.removeprefix("encoder."): t for name, t in tensors.items()}})
history, length = [3, 1, 2], about["settings"]["max_len"]{seconds}
items = torch.tensor(([0] * length + history)[-length:]){torch_gaps}
with torch.no_grad():
    scores = table @ encoder(table[items], items == 0{given})[-1]
```

The encoder is one file of plain PyTorch, `common/models/{run.config.model.name}.py` of FedSieve.

## {GRAPH} (`fedsieve export --format onnx`)

```python
import json, numpy, onnxruntime
from pathlib import Path

length = json.loads(Path("{ABOUT}").read_text())["settings"]["max_len"]
session = onnxruntime.InferenceSession("{GRAPH}")
history = [3, 1, 2]{seconds}
items = numpy.array(([0] * length + history)[-length:]){graph_gaps}
scores = session.run(None, {{"items": items{fed}}})[0]
```
"""
