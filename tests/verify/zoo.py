"""Small architectures of many kinds, and all that can be done to one of them in one place."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional


class Residual(nn.Module):
    """A functional step after, and one between, two modules; one layer called twice."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(8, 8)
        self.norm = nn.LayerNorm(8)
        self.twice = nn.Linear(8, 8)
        self.scale = 0.5

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.scale * self.twice(torch.tanh(self.first(x)))
        return self.norm(x + self.twice(x))


class Direct(nn.Module):
    """Reads the weights of a layer that it never calls."""

    def __init__(self) -> None:
        super().__init__()
        self.lin = nn.Linear(6, 5)
        self.act = nn.LeakyReLU(0.1)
        self.out = nn.Linear(5, 3)
        self.shift = nn.Parameter(torch.randn(5))
        self.register_buffer("mask", torch.rand(5))

    def forward(self, x: Tensor) -> Tensor:
        x = functional.linear(x, self.lin.weight, self.lin.bias) * self.mask + self.shift
        return self.out(self.act(x))


class ConvNet(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 4, 3, padding=1)
        self.bn = nn.BatchNorm2d(4)
        self.act = nn.ELU()
        self.down = nn.Conv2d(4, 6, 3, stride=2, groups=2, padding_mode="zeros", padding=1)
        self.pool = nn.AvgPool2d(2)
        self.gn = nn.GroupNorm(3, 6)
        self.head = nn.Linear(6, 3)
        with torch.no_grad():
            self.bn.running_mean.normal_()
            self.bn.running_var.uniform_(0.5, 2)

    def forward(self, x: Tensor) -> Tensor:
        x = self.pool(self.act(self.bn(self.stem(x))))
        return self.head(functional.softplus(self.gn(self.down(x))).mean((2, 3)))


class Recurrent(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Embedding(11, 6)
        self.rnn = nn.LSTM(6, 5, num_layers=2, bidirectional=True, batch_first=True)
        self.cell = nn.GRUCell(10, 4)
        self.head = nn.Linear(4, 2)

    def forward(self, tokens: Tensor) -> Tensor:
        states, _ = self.rnn(self.embed(tokens))
        return self.head(self.cell(states[:, -1]))


class Attention(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.position = nn.Parameter(torch.randn(16, 8) * 0.1)
        self.attn = nn.MultiheadAttention(8, 2, batch_first=True)
        self.norm = nn.RMSNorm(8)
        self.mlp = nn.Sequential(nn.Linear(8, 16), nn.GELU(), nn.Linear(16, 8))

    def forward(self, x: Tensor) -> dict[str, Tensor | None]:
        x = x + self.position[: x.shape[1]]
        mixed, weights = self.attn(x, x, x)
        x = self.norm(x + mixed)
        return {"hidden": x + self.mlp(x), "weights": weights, "cache": None}


class Tied(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.wte = nn.Embedding(12, 8)
        self.blocks = nn.ModuleList(
            nn.Sequential(nn.LayerNorm(8), nn.Linear(8, 8), nn.SiLU()) for _ in range(3)
        )
        self.head = nn.Linear(8, 12, bias=False)
        self.head.weight = self.wte.weight

    def forward(self, tokens: Tensor) -> Tensor:
        x = self.wte(tokens)
        for block in self.blocks:
            x = x + block(x)
        return self.head(x)


class Branches(nn.Module):
    """Two inputs, two equal branches, a tuple of outputs, one of them an integer."""

    def __init__(self) -> None:
        super().__init__()
        self.left = nn.Linear(5, 4)
        self.right = nn.Linear(5, 4)
        self.join = nn.Bilinear(4, 4, 3)
        self.prelu = nn.PReLU(3)

    def forward(self, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        scores = self.prelu(self.join(self.left(x), self.right(y)))
        return scores, scores.argmax(-1)


def encoder() -> nn.Module:
    layer = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True)
    return nn.TransformerEncoder(layer, 2)


def deep() -> nn.Module:
    block = [nn.Linear(8, 8), nn.Hardtanh(-2.0, 2.0)]
    return nn.Sequential(
        nn.Sequential(*block), nn.Sequential(nn.Linear(8, 8), nn.CELU(0.9)), nn.Linear(8, 8), nn.Softmax(-1)
    )


def audio() -> nn.Module:
    return nn.Sequential(
        nn.Conv1d(2, 4, 5, dilation=2), nn.InstanceNorm1d(4, affine=True), nn.Softplus(beta=1.5),
        nn.Conv1d(4, 3, 3), nn.Upsample(scale_factor=2), nn.Flatten(1), nn.LazyLinear(3),
    )  # fmt: skip


def lazily_made() -> nn.Module:
    net = audio()
    net(torch.randn(2, 2, 17))
    return net


def parametrized() -> nn.Module:
    return nn.Sequential(
        nn.utils.parametrizations.weight_norm(nn.Linear(6, 7)), nn.Tanh(), nn.Linear(7, 7), nn.Dropout(0.3),
        nn.BatchNorm1d(7), nn.Threshold(0.1, 0.2), nn.Linear(7, 2),
    )  # fmt: skip


def transposed() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(1, 3, 3), nn.Hardswish(), nn.ConvTranspose2d(3, 2, 2, stride=2), nn.PixelShuffle(1),
        nn.LayerNorm((14, 14)),
    )  # fmt: skip


ARCHITECTURES: dict[str, Callable[[], nn.Module]] = {
    "residual": Residual,
    "direct": Direct,
    "convnet": ConvNet,
    "recurrent": Recurrent,
    "attention": Attention,
    "tied": Tied,
    "branches": Branches,
    "encoder": encoder,
    "deep": deep,
    "audio": lazily_made,
    "parametrized": parametrized,
    "transposed": transposed,
    "gru": lambda: nn.GRU(4, 5, 2, batch_first=True),
    "mha": lambda: nn.MultiheadAttention(8, 2),
}


def build(name: str) -> nn.Module:
    """The architecture, always with the same weights, none of them zero."""
    torch.manual_seed(5)
    model = ARCHITECTURES[name]()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter += torch.randn_like(parameter) * 0.05
    return model


class Perturbation(NamedTuple):
    """What is done to one module: `key` is the tensor or attribute that differs afterwards."""

    module: str
    key: str
    apply: Callable[[nn.Module], None]
    kind: str


# Attributes that change an output in eval mode, and what is put there.
_ATTRIBUTES: dict[str, object] = {
    "eps": 0.03, "negative_slope": 0.3, "alpha": 0.55, "beta": 2.5, "max_val": 0.2, "threshold": 0.4,
    "dim": 0, "num_groups": 1, "scale": 0.8,
}  # fmt: skip


def perturbations(model: nn.Module) -> Iterator[Perturbation]:
    """Every tensor moved a little, every attribute that matters set to another value; two layers swapped."""
    state = model.state_dict(keep_vars=True)
    seen: set[int] = set()
    for key, tensor in state.items():
        if tensor.is_floating_point() and id(tensor) not in seen:
            seen.add(id(tensor))
            yield Perturbation(key.rpartition(".")[0], key, _moved(key), "tensor")
    for path, module in model.named_modules():
        for name, value in _ATTRIBUTES.items():
            if name in vars(module) and not (name == "dim" and type(module) is not nn.Softmax):
                yield Perturbation(path, name, _set(path, name, value), "attribute")
        if type(module) in (nn.GELU, nn.SiLU, nn.Tanh, nn.ELU):
            yield Perturbation(path, "class", _replaced(path), "class")
        if isinstance(module, nn.Conv2d) and module.stride == (2, 2):
            yield Perturbation(path, "dilation", _set(path, "dilation", (2, 2)), "attribute")
            yield Perturbation(path, "stride", _set(path, "stride", (1, 1)), "attribute")
        if isinstance(module, nn.MultiheadAttention):
            yield Perturbation(path, "num_heads", _heads(path), "attribute")
    yield from _swaps(model)


def _moved(key: str) -> Callable[[nn.Module], None]:
    def move(model: nn.Module) -> None:
        tensor = model.state_dict(keep_vars=True)[key]
        with torch.no_grad():
            tensor.view(-1)[tensor.numel() // 2] += 0.25

    return move


def _set(path: str, name: str, value: object) -> Callable[[nn.Module], None]:
    return lambda model: setattr(model.get_submodule(path), name, value)


def _heads(path: str) -> Callable[[nn.Module], None]:
    def change(model: nn.Module) -> None:
        attention = model.get_submodule(path)
        attention.num_heads, attention.head_dim = 4, 2

    return change


def _replaced(path: str) -> Callable[[nn.Module], None]:
    def replace(model: nn.Module) -> None:
        parent, _, name = path.rpartition(".")
        setattr(model.get_submodule(parent), name, nn.Softsign())

    return replace


def _swaps(model: nn.Module) -> Iterator[Perturbation]:
    """Two layers of one shape, each with the other's weights."""
    layers: dict[object, str] = {}
    for path, module in model.named_modules():
        if type(module) is nn.Linear:
            key = tuple(module.weight.shape), module.bias is None
            if key in layers:
                yield Perturbation(layers[key], f"{layers[key]}.weight", _swap(layers[key], path), "swap")
            layers.setdefault(key, path)


def _swap(one: str, other: str) -> Callable[[nn.Module], None]:
    def swap(model: nn.Module) -> None:
        left, right = model.get_submodule(one), model.get_submodule(other)
        state = copy.deepcopy(left.state_dict())
        left.load_state_dict(right.state_dict())
        right.load_state_dict(state)

    return swap
