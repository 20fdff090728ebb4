"""A device that is not there: tensors with the values of the CPU that behave as those of a GPU do.

They say that they are on ``meta``, which autograd and vmap know without a driver. An operation that mixes
them with CPU tensors of one dimension or more is refused, as CUDA refuses it; so is a draw on the device, and
numpy. What goes to the host is counted by the place in this project that asked for it.
"""

from __future__ import annotations

import traceback
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode, return_and_correct_aliasing
from torch.utils._pytree import tree_flatten, tree_map

DEVICE = torch.device("meta")
ROOT = Path(__file__).resolve().parents[1]
aten = torch.ops.aten
COPIES = (aten._to_copy.default, aten.copy_.default)
INDEXED = {aten.index.Tensor: 1, aten.index_put.default: 1, aten.index_put_.default: 1}
"""These take CPU indices on a GPU too; the place of the indices among the arguments."""
SCALARS = (aten._local_scalar_dense.default, aten.equal.default)


class MixedDevices(RuntimeError):
    """What CUDA says of tensors on two devices."""


class FakeTensor(Tensor):
    """``held`` on the CPU, seen as a tensor on DEVICE."""

    held: Tensor

    @staticmethod
    def __new__(cls, real: Tensor) -> FakeTensor:
        made: FakeTensor = Tensor._make_wrapper_subclass(  # type: ignore[attr-defined]
            cls,
            real.size(),
            strides=real.stride(),
            storage_offset=real.storage_offset(),
            dtype=real.dtype,
            device=DEVICE,
            requires_grad=real.requires_grad,
        )
        made.held = real.detach()
        return made

    def __repr__(self, **_: Any) -> str:  # type: ignore[override]
        return f"FakeTensor({self.held!r})"

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return dispatched(None, func, args, kwargs or {})


class FakeDevice(TorchDispatchMode):
    """While it is on, ``device="meta"`` makes fake tensors. copies, scalars: place -> how often."""

    def __init__(self) -> None:
        super().__init__()
        self.copies: Counter[str] = Counter()
        self.scalars: Counter[str] = Counter()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return dispatched(self, func, args, kwargs or {})


class _Literals(TorchFunctionMode):
    """``torch.tensor([…], device="meta")`` would lose its values before any mode sees it."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = dict(kwargs or {})
        if func is Tensor.tolist and isinstance(args[0], FakeTensor):  # which no subclass has
            return args[0].to("cpu").tolist()
        if func in (Tensor.numpy, Tensor.__array__) and isinstance(args[0], FakeTensor):
            raise TypeError("can't convert a tensor on the device to numpy; copy it to the CPU first")
        if func in (Tensor.__getitem__, Tensor.__setitem__):
            args = (args[0], _listed(args[1]), *args[2:])
        made = func in (torch.tensor, torch.as_tensor, Tensor.new_tensor)
        where = kwargs.get("device")
        if func is Tensor.new_tensor and where is None and isinstance(args[0], FakeTensor):
            where = DEVICE
            kwargs.setdefault("dtype", args[0].dtype)
        if made and where is not None and torch.device(where) == DEVICE:
            kwargs.pop("device", None)
            values = args[1:] if func is Tensor.new_tensor else args
            return torch.tensor(*values, **kwargs).to(DEVICE)
        return func(*args, **kwargs)


def dispatched(mode: FakeDevice | None, func: Any, args: Any, kwargs: dict[str, Any]) -> Any:
    """``func`` on the real values, its result on the device that it would have."""
    flat, _ = tree_flatten((args, kwargs))
    tensors = [one for one in flat if isinstance(one, Tensor)]
    fakes = [one for one in tensors if isinstance(one, FakeTensor)]
    where = kwargs.get("device")
    here = (torch.device(where) == DEVICE) if where is not None else bool(fakes)
    if func in COPIES or func is aten.lift_fresh.default:
        if func is aten.copy_.default:
            here = isinstance(args[0], FakeTensor)
        if fakes and not here and mode is not None:
            mode.copies[_place()] += 1
    elif fakes:
        _check(func, args, kwargs)
    if mode is not None and func in SCALARS and fakes:
        mode.scalars[_place()] += 1
    if here and torch.Tag.nondeterministic_seeded in func.tags and not _drops_nothing(func, args):
        raise MixedDevices(f"{func}: a draw on the device; draw on the CPU and move it")
    kwargs = {name: ("cpu" if name == "device" and here else one) for name, one in kwargs.items()}
    real_args, real_kwargs = tree_map(_real, (args, kwargs))
    out = func(*real_args, **real_kwargs)
    if not here or func in SCALARS:
        return out
    wrapped = tree_map(lambda one: FakeTensor(one) if isinstance(one, Tensor) else one, out)
    return return_and_correct_aliasing(func, args, kwargs, wrapped)


def _listed(index: Any) -> Any:
    """An index in which lists are CPU tensors; torch would make them on ``meta``, without values."""
    if isinstance(index, tuple):
        return tuple(map(_listed, index))
    return torch.tensor(index, dtype=None if index else torch.int64) if isinstance(index, list) else index


def _real(one: Any) -> Any:
    return one.held if isinstance(one, FakeTensor) else one


def _drops_nothing(func: Any, args: Any) -> bool:
    return "dropout" in str(func) and args[1] == 0


def _check(func: Any, args: Any, kwargs: dict[str, Any]) -> None:
    """Raise MixedDevices as CUDA would."""
    if func in INDEXED:
        place = INDEXED[func]
        own, indices = args[0], [one for one in args[place] if isinstance(one, Tensor)]
        rest = [one for one in tree_flatten((args[place + 1 :], kwargs))[0] if isinstance(one, Tensor)]
        if not isinstance(own, FakeTensor) and any(isinstance(one, FakeTensor) for one in indices):
            raise MixedDevices(f"{func}: indices on the device into a tensor on the CPU")
        tensors = [own, *rest]
    else:
        tensors = [one for one in tree_flatten((args, kwargs))[0] if isinstance(one, Tensor)]
    fake = [isinstance(one, FakeTensor) for one in tensors]
    strange = [one for one in tensors if not isinstance(one, FakeTensor) and one.dim() > 0]
    if any(fake) and strange:
        raise MixedDevices(
            f"{func}: tensors on the device and on the CPU {[tuple(s.shape) for s in strange]}"
        )


def _place() -> str:
    """``folder/module.py:function`` of the innermost caller in this project."""
    for frame in reversed(traceback.extract_stack()):
        path = Path(frame.filename)
        if path.is_relative_to(ROOT) and "tests" not in path.parts and ".venv" not in path.parts:
            return f"{path.relative_to(ROOT)}:{frame.name}"
    return "tests"


@contextmanager
def fake_device() -> Iterator[FakeDevice]:
    """The device for the block, and what was copied from it."""
    with _Literals(), FakeDevice() as mode:
        yield mode


def moved(value: Any, device: torch.device) -> Any:
    """A copy of a tensor, or of a dataclass or mapping of them, on ``device``."""
    return _mapped(value, lambda one: one.to(device))


def on_device(value: Any) -> Any:
    """:func:`moved` to the device that is not there."""
    return moved(value, DEVICE)


def on_host(value: Any) -> Any:
    """The same on the CPU, not counted."""
    return _mapped(value, lambda one: one.held.clone() if isinstance(one, FakeTensor) else one)


def _mapped(value: Any, change: Any) -> Any:
    if isinstance(value, Tensor):
        return change(value)
    if isinstance(value, dict):
        return {key: _mapped(one, change) for key, one in value.items()}
    if isinstance(value, list | tuple) and not hasattr(value, "_fields"):
        return type(value)(_mapped(one, change) for one in value)
    if hasattr(value, "__dataclass_fields__"):
        made = object.__new__(type(value))
        for name in value.__dataclass_fields__:
            object.__setattr__(made, name, _mapped(getattr(value, name), change))
        return made
    return value
