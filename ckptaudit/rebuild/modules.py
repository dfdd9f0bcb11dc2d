"""The few modules of our own that a rebuilt model is made of, where torch.nn has none for it.

This is the one module here that needs torch to be imported: a class can only be pickled where it stands at
the top of a module.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, Final, NoReturn

import torch
from torch import nn
from torch.nn.parameter import is_lazy
from torch.overrides import TorchFunctionMode

_ASK = "name your code with --model"


class UnknownForwardError(RuntimeError):
    """A module was called of which the checkpoint does not tell what it computes."""


class Refusal:
    """Stands in for the `forward` of a layer that is known but for arguments that decide what it computes."""

    def __init__(self, reason: str) -> None:
        self.reason = reason

    def __call__(self, *args: object, **kwargs: object) -> NoReturn:
        raise UnknownForwardError(self.reason)


def refuse(layer: str, unknown: tuple[str, ...]) -> Refusal:
    """The refusal of a layer of which `unknown` are not known."""
    told = ", ".join(unknown)
    return Refusal(f"{layer}: the checkpoint does not tell {told}; {_ASK}")


_INITIAL: Final = frozenset(
    {"normal_", "uniform_", "trunc_normal_", "fill_", "zero_", "constant_", "ones_", "zeros_"}
    | {"kaiming_uniform_", "xavier_uniform_", "xavier_normal_"}
)


class Uninitialized(TorchFunctionMode):  # type: ignore[misc, unused-ignore]
    """In its context constructors leave their parameters without first values, which loading would replace.

    On the meta device there are no values anyway, and torch takes seconds to find out (torch 2.13).
    """

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        given = kwargs or {}
        if getattr(func, "__name__", "") in _INITIAL:
            return args[0] if args else given["tensor"]
        return func(*args, **given)


class Skeleton(nn.Module):  # type: ignore[misc, unused-ignore]
    """A module of which the parameters, buffers and children are known, and not what it computes.

    Unlike any nn.Module it holds whatever a state dict may name: names with dots and empty ones, names of its
    own attributes, a tensor and a module under one name, and keys that hold no tensor. `cls` is the class
    that the file names, or None; `reason` why it is no layer of torch.nn, where one was tried.
    """

    def __init__(self, cls: str | None = None, reason: str = "") -> None:
        super().__init__()
        self._cls = cls
        self._reason = reason
        self._values: dict[str, object] = {}

    def forward(self, *args: object, **kwargs: object) -> NoReturn:
        """Raises UnknownForwardError."""
        raise UnknownForwardError(refusal_of(self))

    def _own(self) -> Iterator[tuple[dict[str, Any], str, Any]]:
        """Its parameters and persistent buffers: where each is kept, its name, and itself."""
        for kept in (self._parameters, self._buffers):
            for name, value in list(kept.items()):
                if value is not None and name not in self._non_persistent_buffers_set:
                    yield kept, name, value

    def extra_repr(self) -> str:
        words = [] if self._cls is None else [f"class {ascii(self._cls)[1:-1]}"]
        for _, name, value in self._own():
            size = "lazy" if is_lazy(value) else "×".join(map(str, value.shape)) or "scalar"
            words.append(f"{ascii(name)[1:-1]}: {size}")
        return ", ".join(words)

    def _save_to_state_dict(self, destination: Any, prefix: str, keep_vars: bool) -> None:
        for _, name, value in self._own():
            destination[prefix + name] = value if keep_vars or is_lazy(value) else value.detach()
        for name, kept in self._values.items():
            destination[prefix + name] = kept

    def _load_from_state_dict(
        self,
        state_dict: Any,
        prefix: str,
        local_metadata: Any,
        strict: bool,
        missing_keys: list[str],
        unexpected_keys: list[str],
        error_msgs: list[str],
    ) -> None:
        assign = local_metadata.get("assign_to_params_buffers", False)
        known = set(self._values)
        for kept, name, value in self._own():
            known.add(name)
            key = prefix + name
            if key not in state_dict:
                missing_keys.append(key)
            elif (wrong := _unfit(value, state_dict[key])) is not None:
                error_msgs.append(f"{wrong} for {key}")
            else:
                kept[name] = _taken(value, state_dict[key], assign)
        for name in self._values:
            if prefix + name in state_dict:
                self._values[name] = state_dict[prefix + name]
            else:
                missing_keys.append(prefix + name)
        for key in state_dict:
            name = key[len(prefix) :]
            if key.startswith(prefix) and name not in known and not self._is_below(name):
                unexpected_keys.append(key)

    def _is_below(self, name: str) -> bool:
        """Whether a name leads into a child: names of children may hold dots."""
        end = name.find(".")
        while end >= 0:
            if name[:end] in self._modules:
                return True
            end = name.find(".", end + 1)
        return False


# Attributes that nn.Module and Skeleton keep for themselves: names that nothing of a file may take.
RESERVED: Final = frozenset(vars(Skeleton()))


def refusal_of(module: Skeleton) -> str:
    """Why it cannot run."""
    if module._reason:
        return f"{module._reason}; {_ASK}"
    if module._cls is not None:
        return f"the code of {module._cls} is not in the file; {_ASK}"
    return f"a state dict holds no forward; {_ASK}"


def hold(module: Skeleton, names: Iterable[str]) -> None:
    """Let `module` have keys that hold no tensor: extra state, counters, texts."""
    module._values.update(dict.fromkeys(names))


def _unfit(own: Any, given: Any) -> str | None:
    if not isinstance(given, torch.Tensor):
        return f"{type(given).__name__} where a tensor is expected"
    if is_lazy(own) or is_lazy(given) or own.shape == given.shape:
        return None
    return f"size mismatch: {tuple(given.shape)} in the state dict, {tuple(own.shape)} here"


def _taken(own: Any, given: Any, assign: bool) -> Any:
    """What takes the place of `own`: the given tensor itself, or `own` with its values."""
    if not assign and not is_lazy(own) and not is_lazy(given):
        with torch.no_grad():
            own.copy_(given)
        return own
    if is_lazy(given) or not isinstance(own, nn.Parameter):
        return given
    grad = own.requires_grad and (given.is_floating_point() or given.is_complex())
    if isinstance(given, nn.Parameter):
        return given.requires_grad_(grad)
    return nn.Parameter(given, requires_grad=grad)


class Conv1D(nn.Module):  # type: ignore[misc, unused-ignore]
    """The linear layer of GPT-2: y = x @ weight + bias, with the weight as (in, out).

    As transformers has it (transformers/pytorch_utils.py).
    """

    def __init__(self, nf: int, nx: int) -> None:
        super().__init__()
        self.nf = nf
        self.nx = nx
        self.weight = nn.Parameter(torch.empty(nx, nf))
        self.bias = nn.Parameter(torch.empty(nf))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(..., nx) -> (..., nf)."""
        flat = torch.addmm(self.bias, x.view(-1, x.size(-1)), self.weight)
        return flat.view((*x.shape[:-1], self.nf))

    def extra_repr(self) -> str:
        return f"nf={self.nf}, nx={self.nx}"


class FrozenBatchNorm2d(nn.Module):  # type: ignore[misc, unused-ignore]
    """A batch norm of fixed statistics, all of them buffers, as in torchvision/ops/misc.py."""

    def __init__(self, num_features: int, eps: float = 1e-5) -> None:
        super().__init__()
        self.eps = eps
        for name in ("weight", "bias", "running_mean", "running_var"):
            self.register_buffer(name, torch.empty(num_features))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(N, C, H, W) -> (N, C, H, W)."""
        names = ("weight", "bias", "running_mean", "running_var")
        weight, bias, mean, var = (self._buffers[name].reshape(1, -1, 1, 1) for name in names)
        scale = weight * (var + self.eps).rsqrt()
        return x * scale + (bias - mean * scale)

    def extra_repr(self) -> str:
        return f"{len(self._buffers['weight'])}, eps={self.eps}"
