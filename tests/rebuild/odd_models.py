"""Models with what is rare in them: shared modules across classes, ties, wrappers, changed layers, odd names.

Needs torch. `MODELS` are by name.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import nn
from torch.nn.utils import prune


class Half(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(4, 4).half()
        self.norm = nn.LayerNorm(4)
        self.alpha = 0.5
        self.names = ["a", "b"]
        self.table = {"x": 1}


class Block(nn.Module):
    def __init__(self, layer_idx: int, width: int) -> None:
        super().__init__()
        self.layer_idx = layer_idx
        self.linear = nn.Linear(width, 2 * width)
        self.scale = nn.Parameter(torch.ones(width))
        self.register_buffer("positions", torch.arange(width))
        self.plain = torch.ones(3)


class Stack(nn.Module):
    """Two widths of one block, and a block that hangs in another."""

    def __init__(self) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(Block(index, 4) for index in range(4))
        self.more = nn.ModuleList(Block(index, 8) for index in range(2))
        self.blocks[2].linear = self.more[0]


class Names(nn.Module):
    """Names that cannot be attributes, and some that no module should have."""

    def __init__(self) -> None:
        super().__init__()
        for name in ("class", "block 0", "é", "x'\"y", "\n import os", "lambda", "__private"):
            self.add_module(name, nn.Linear(2, 2))
        for name in ("p q", "None", "\u2028", "\\"):
            self.register_parameter(name, nn.Parameter(torch.ones(2)))
        self.register_buffer("b b", torch.ones(2))
        self._modules["type"] = nn.Linear(2, 2)
        self._modules["forward"] = nn.Linear(2, 2)
        self._parameters["half"] = nn.Parameter(torch.ones(1))
        self._parameters["both"] = nn.Parameter(torch.ones(1))
        self._modules["both"] = nn.Linear(1, 1)


class Ties(nn.Module):
    """Ties inside containers, and one module in several of them."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(5, 4)
        self.decoder = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 5, bias=False))
        self.decoder[1].weight = self.embedding.weight
        self.pair = nn.ModuleDict({"a": nn.Linear(4, 4), "b": nn.Linear(4, 4)})
        self.pair["b"].weight = self.pair["a"].weight
        self.pair["b"].bias = self.pair["a"].bias
        self.again = nn.Sequential(self.pair["a"], nn.ReLU(), self.pair["a"])
        self.deep = nn.ModuleDict({"x": nn.Sequential(self.embedding, nn.Linear(4, 4))})


class Inner(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(2, 2)


class Crossing(nn.Module):
    """A module of one class that hangs in another, under an attribute and in a list."""

    def __init__(self) -> None:
        super().__init__()
        self.first = Inner()
        self.second = Inner()
        self.second.extra = self.first.linear
        self.second.net = nn.Sequential(nn.ReLU(), self.first.linear)


class Mixed(nn.Module):
    """Frozen and in evaluation mode in parts."""

    def __init__(self) -> None:
        super().__init__()
        self.backbone = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4)).eval()
        self.backbone.requires_grad_(False)
        self.head = nn.Linear(4, 2)
        self.head.bias.requires_grad_(False)


class Parameters(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.listed = nn.ParameterList([torch.zeros(2), torch.zeros(3)])
        self.named = nn.ParameterDict({"a b": torch.zeros(2), "c": torch.zeros(1)})
        self.codes = nn.Parameter(torch.zeros(2, dtype=torch.int8), requires_grad=False)


class Transformers(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        layer = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True)
        self.encoder = nn.TransformerEncoder(layer, 3, norm=nn.LayerNorm(8))
        self.decoder = nn.TransformerDecoder(nn.TransformerDecoderLayer(8, 4, 16), 2)


def changed() -> nn.Sequential:
    """Layers that lack a tensor, have one more, or another shape, than their constructor makes."""
    bare, scaled, norm, wide = nn.Linear(3, 3), nn.Linear(3, 3), nn.BatchNorm2d(3), nn.Linear(3, 3)
    bare.register_parameter("bias", None)
    scaled.register_buffer("scale", torch.ones(2))
    del norm._buffers["num_batches_tracked"]
    wide.weight = nn.Parameter(torch.zeros(3, 5))
    wide.gain = 7  # type: ignore[assignment]
    return nn.Sequential(bare, scaled, norm, wide)


def wrapped() -> nn.ModuleList:
    utils = nn.utils
    pruned = prune.random_unstructured(nn.Linear(2, 2), "bias", 1)
    prune.l1_unstructured(pruned, "weight", 0.5)
    return nn.ModuleList(
        [
            utils.weight_norm(nn.Linear(4, 3)),
            utils.weight_norm(nn.ConvTranspose1d(4, 2, 3), dim=1),
            utils.weight_norm(nn.Linear(2, 2), dim=None),
            utils.spectral_norm(nn.Conv2d(3, 4, 3), n_power_iterations=2),
            utils.spectral_norm(nn.ConvTranspose2d(3, 4, 3)),
            pruned,
        ]
    )


def shared() -> nn.Sequential:
    layer, block = nn.Linear(3, 3), nn.Sequential(nn.Linear(3, 3), nn.ReLU())
    return nn.Sequential(layer, block, layer, block, nn.Sequential(block, layer), nn.Linear(3, 1))


class Nested(nn.Module):
    """Shared modules in shared modules, some of them of a class of its own, all in one container."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(2, 2)
        own, plain = Inner(), nn.Linear(2, 2)
        inner = nn.Sequential(self.first, plain, own)
        outer = nn.Sequential(inner, own, plain)
        self.table = nn.ModuleDict({"a": nn.Sequential(outer, inner), "b": outer, "c": own, "d": plain})
        self.last = nn.Sequential(own, own)
        self.apart = Inner()
        self.apart.again, self.apart.plain = inner, plain


def dtypes() -> nn.Sequential:
    return nn.Sequential(
        nn.Linear(3, 3).double(),
        nn.Linear(3, 3, dtype=torch.complex64),
        nn.BatchNorm2d(3).bfloat16(),
        nn.Embedding(3, 2).to(torch.float8_e4m3fn),
        nn.Linear(3, 3),
    )


MODELS: Mapping[str, Callable[[], nn.Module]] = {
    **{each.__name__: each for each in (Half, Stack, Names, Ties, Crossing, Mixed, Nested)},
    **{each.__name__: each for each in (Parameters, Transformers)},
    "changed": changed,
    "wrapped": wrapped,
    "shared": shared,
    "dtypes": dtypes,
    "bfloat16": lambda: Stack().bfloat16(),
    "frozen": lambda: Ties().eval().requires_grad_(False),
    "containers": lambda: nn.Sequential(nn.Sequential(), nn.ModuleList(), nn.ModuleDict(), nn.Identity()),
}
