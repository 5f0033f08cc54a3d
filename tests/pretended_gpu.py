"""A GPU that is not there: tensors sent to it are marked, stay on the CPU, and may not meet those that were not sent.

What code that never saw a GPU gets wrong is a tensor left behind on the CPU; that shows here, in every operation that
is called from Python. Kernels, precision and speed do not.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch.overrides import TorchFunctionMode

GPU, CPU = torch.device("cuda", 0), torch.device("cpu")
_DEVICE, _IS_CUDA = torch.Tensor.device.__get__, torch.Tensor.is_cuda.__get__
_GRAD, _SET_DATA = torch.Tensor.grad.__get__, torch.Tensor.data.__set__
_TAKES_BOTH = {"copy_", "__getitem__", "__setitem__", "__set__", "_has_compatible_shallow_copy_type"}
"""What takes tensors that lie apart: copies, an index from the CPU, and a question."""
_STAYS = {"copy_", "__getitem__", "__setitem__"}
"""Operations whose result lies where their first tensor does."""


class DevicesMixedError(AssertionError):
    """An operation on tensors of which some were sent to the GPU and some were not."""


class PretendedGPU(TorchFunctionMode):
    """While active, ``cuda`` is a device that tensors can be sent to; in this thread, as torch's modes are."""

    def __init__(self) -> None:
        super().__init__()
        self.operations = 0
        """With at least one tensor on the GPU."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = dict(kwargs or {})
        name = getattr(func, "__name__", "")
        if func == _DEVICE:
            return GPU if _there(args[0]) else func(*args)
        if func == _IS_CUDA:
            return _there(args[0])
        if func == _GRAD:
            return _mark(func(*args), _there(args[0]))
        if func == _SET_DATA:
            _mark(args[0], _there(args[1]))
            return func(*args)
        if name in ("to", "cpu", "cuda"):
            return self._sent(func, name, args, kwargs)
        if name in ("numpy", "__array__") and _there(args[0]):
            raise DevicesMixedError("a tensor on the GPU has no numpy array")
        there = [tensor for tensor in _tensors([args, kwargs]) if _there(tensor)]
        here = [tensor for tensor in _tensors([args, kwargs]) if not _there(tensor) and tensor.dim() > 0]
        if there and here and name not in _TAKES_BOTH:
            shapes = [[tuple(tensor.shape) for tensor in side] for side in (there, here)]
            raise DevicesMixedError(f"{name}: {shapes[0]} on the GPU, {shapes[1]} on the CPU")
        self.operations += bool(there)
        result_there = bool(there)
        if name in _STAYS or name.startswith("new_"):
            result_there = _there(args[0])
        if kwargs.get("device") is not None:
            result_there = _is_gpu(kwargs["device"])
            kwargs["device"] = CPU if result_there else kwargs["device"]
        return _mark(func(*args, **kwargs), result_there)

    def _sent(self, func: Any, name: str, args: Any, kwargs: dict[str, Any]) -> torch.Tensor:
        tensor, rest = args[0], []
        where = {"cpu": CPU, "cuda": GPU}.get(name, kwargs.pop("device", None))
        kwargs.pop("non_blocking", None)
        for argument in args[1:] if name == "to" else ():
            if isinstance(argument, torch.Tensor):
                where = argument.device
                rest.append(argument.dtype)
            elif isinstance(argument, (torch.device, str)):
                where = argument
            elif isinstance(argument, torch.dtype):
                rest.append(argument)
        moved = _is_gpu(where) if where is not None else _there(tensor)
        result = func(tensor, *rest, **kwargs) if rest or kwargs else tensor
        if result is tensor and moved != _there(tensor):
            result = tensor.clone()
        return _mark(result, moved)


@contextmanager
def pretended_gpu() -> Iterator[PretendedGPU]:
    """Train there what the trainers of transformers and accelerate train."""
    from accelerate import Accelerator
    from transformers import TrainingArguments

    known = [(owner, owner.device) for owner in (TrainingArguments, Accelerator)]
    for owner, device in known:
        owner.device = property(lambda self, device=device: (device.fget(self), GPU)[1])  # the getter sets up more
    try:
        with PretendedGPU() as gpu:
            yield gpu
    finally:
        for owner, device in known:
            owner.device = device


def _there(tensor: torch.Tensor) -> bool:
    return getattr(tensor, "_sent_to_gpu", False)


def _mark(result: Any, there: bool) -> Any:
    for tensor in _tensors(result):
        tensor._sent_to_gpu = there
    return result


def _is_gpu(device: Any) -> bool:
    return isinstance(device, int) or torch.device(device).type == "cuda"


def _tensors(value: Any) -> Iterator[torch.Tensor]:
    if isinstance(value, torch.Tensor):
        yield value
    elif isinstance(value, (list, tuple)):
        for part in value:
            yield from _tensors(part)
    elif isinstance(value, dict):
        yield from _tensors(list(value.values()))
