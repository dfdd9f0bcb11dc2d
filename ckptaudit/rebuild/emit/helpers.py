"""Classes that are put into the source where it needs them: few, and the same each time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

HELPERS: Final[Mapping[str, str]] = {
    "Skeleton": '''\
class Skeleton(nn.Module):
    """A module of which names and shapes are known, and not what it computes."""

    def forward(self, *inputs, **more):
        raise NotImplementedError(
            "a state dict does not tell in which order modules run, nor what is between"
        )
''',
    "AnyName": '''\
class AnyName:
    """For modules that have names with dots in them, which load_state_dict calls unexpected."""

    def _load_from_state_dict(self, state, prefix, metadata, strict, missing, unexpected, errors):
        super()._load_from_state_dict(
            state, prefix, metadata, strict, missing, unexpected, errors
        )
        own = {prefix + name for name in (*self._parameters, *self._buffers)}
        inner = {f"{prefix}{name}." for name in self._modules}
        unexpected[:] = [
            key
            for key in unexpected
            if key not in own
            and not any(key[: at + 1] in inner for at, sign in enumerate(key) if sign == ".")
        ]
''',
    "PlainKeys": '''\
class PlainKeys:
    """For a model whose state dict also has keys that hold no tensor: loading leaves them out."""

    def _load_from_state_dict(self, state, prefix, metadata, strict, missing, unexpected, errors):
        for key, kept in list(state.items()):
            if not (torch.is_tensor(kept) or key.endswith("_extra_state")):
                del state[key]
        super()._load_from_state_dict(
            state, prefix, metadata, strict, missing, unexpected, errors
        )
''',
    "ExtraState": '''\
class ExtraState:
    """For modules that save more than tensors; what it means is unknown."""

    extra_state = None

    def get_extra_state(self):
        return self.extra_state

    def set_extra_state(self, state):
        self.extra_state = state
''',
    "Unknown": '''\
class Unknown(nn.Module):
    """A module without tensors, of which only the name is known: an activation, perhaps."""

    def forward(self, *inputs, **more):
        raise NotImplementedError("a state dict does not tell which module this is")
''',
    "Conv1D": '''\
class Conv1D(nn.Module):
    """A linear layer that keeps its weight as (in, out), as GPT-2's in transformers do."""

    def __init__(self, nf, nx):
        super().__init__()
        self.nf = nf
        self.nx = nx
        self.weight = nn.Parameter(torch.empty(nx, nf))
        self.bias = nn.Parameter(torch.empty(nf))

    def forward(self, x):
        return x @ self.weight + self.bias
''',
    "FrozenBatchNorm2d": '''\
class FrozenBatchNorm2d(nn.Module):
    """A batch norm whose statistics and parameters never change, as torchvision has it."""

    def __init__(self, num_features, eps=1e-05):
        super().__init__()
        self.eps = eps
        self.register_buffer("weight", torch.ones(num_features))
        self.register_buffer("bias", torch.zeros(num_features))
        self.register_buffer("running_mean", torch.zeros(num_features))
        self.register_buffer("running_var", torch.ones(num_features))

    def forward(self, x):
        scale = self.weight * (self.running_var + self.eps).rsqrt()
        shift = self.bias - self.running_mean * scale
        return x * scale.reshape(1, -1, 1, 1) + shift.reshape(1, -1, 1, 1)
''',
}


def stateful(name: str, base: str, mixins: Sequence[str]) -> str:
    """A class of ours for a layer of torch whose state dict has more than tensors."""
    what = "extra state" if "ExtraState" in mixins else "keys that hold no tensor"
    return f'class {name}({", ".join((*mixins, base))}):\n    """{base} with {what}."""\n'
