"""The tensors that a constructor of torch.nn makes: names and shapes, of which those in a file may differ.

None where a layer is not in the table, or its arguments are not what it takes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import partial
from itertools import pairwise
from typing import Final

from ckptaudit.layers import TensorLike
from ckptaudit.rebuild.known import ACTIVATIONS, LOSSES, POOLS, ROWS, SHAPES

Shape = tuple[int, ...] | None  # None: lazy
Arguments = Mapping[str, object]
Made = dict[str, Shape]

# By name, which of a layer's tensors are buffers: all others are parameters.
BUFFERS: Final = frozenset({"running_mean", "running_var", "num_batches_tracked"})
_HOOKED: Final = ("_u", "_v", "_mask", ".base")  # buffers of torch.nn.utils' wrappers
_DEEPEST: Final = 10_000  # recurrent layers in one module
_Maker = Callable[["_Given"], Made]


class _Given:
    """The arguments of one layer, its defaults among them. Raises KeyError or TypeError for other kinds."""

    def __init__(self, layer: str, arguments: Arguments) -> None:
        self.layer = layer
        self._all: Arguments = {**ROWS.get(layer, {}), **arguments}

    def size(self, name: str) -> int:
        """A number of channels and the like."""
        number = self._all[name]
        if type(number) is not int or number < 0:
            raise TypeError(name)
        return number

    def sizes(self, name: str, dims: int = 1) -> tuple[int, ...]:
        """A shape; one number stands for `dims` of them."""
        given = self._all[name]
        if type(given) is int:
            return (given,) * dims
        if isinstance(given, tuple | list) and all(type(size) is int for size in given):
            return tuple(given)
        raise TypeError(name)

    def mode(self) -> object:
        """Which kind of recurrent layer it is."""
        return self._all["mode"]

    def ratio(self, name: str) -> int | float:
        """A number of any kind."""
        number = self._all[name]
        if type(number) not in (int, float):
            raise TypeError(name)
        return number  # type: ignore[return-value]

    def has(self, name: str) -> bool:
        """Whether something is asked for."""
        return bool(self._all.get(name))

    def tensors(self) -> Iterator[tuple[str, TensorLike]]:
        """Arguments that are tensors."""
        for name, thing in self._all.items():
            if isinstance(thing, TensorLike):
                yield name, thing

    def given(self, name: str) -> bool:
        """Whether an argument is not None."""
        return self._all.get(name) is not None


def is_buffer(name: str) -> bool:
    """Whether a tensor that a constructor makes is no parameter."""
    return name.rpartition(".")[2] in BUFFERS or name.endswith(_HOOKED)


def made(layer: str, arguments: Arguments) -> Made | None:
    """Names and shapes of the tensors of `nn.layer(**arguments)`."""
    maker = _MAKERS.get(layer)
    try:
        return None if maker is None else maker(_Given(layer, arguments))
    except (KeyError, TypeError, ValueError, OverflowError, ZeroDivisionError):
        return None


def _with_bias(given: _Given, weight: Shape, out: Shape) -> Made:
    return {"weight": weight, **({"bias": out} if given.has("bias") else {})}


def _linear(given: _Given) -> Made:
    out = given.size("out_features")
    return _with_bias(given, (out, given.size("in_features")), (out,))


def _bilinear(given: _Given) -> Made:
    out = given.size("out_features")
    return _with_bias(given, (out, given.size("in1_features"), given.size("in2_features")), (out,))


def _conv1d_transformers(given: _Given) -> Made:
    return {"weight": (given.size("nx"), given.size("nf")), "bias": (given.size("nf"),)}


def _convolution(dims: int, given: _Given) -> Made:
    out, kernel = given.size("out_channels"), given.sizes("kernel_size", dims)
    return _with_bias(given, (out, given.size("in_channels") // given.size("groups"), *kernel), (out,))


def _transposed(dims: int, given: _Given) -> Made:
    out, kernel = given.size("out_channels"), given.sizes("kernel_size", dims)
    return _with_bias(given, (given.size("in_channels"), out // given.size("groups"), *kernel), (out,))


def _tracked(given: _Given) -> Made:
    size: Shape = None if given.layer.startswith("Lazy") else (given.size("num_features"),)
    found = _with_bias(given, size, size) if given.has("affine") else {}
    if given.has("track_running_stats"):
        found |= {"running_mean": size, "running_var": size, "num_batches_tracked": ()}
    return found


def _frozen(given: _Given) -> Made:
    return dict.fromkeys(("weight", "bias", "running_mean", "running_var"), (given.size("num_features"),))


def _layer_norm(given: _Given) -> Made:
    shape = given.sizes("normalized_shape")
    return _with_bias(given, shape, shape) if given.has("elementwise_affine") else {}


def _group_norm(given: _Given) -> Made:
    size = (given.size("num_channels"),)
    return _with_bias(given, size, size) if given.has("affine") else {}


def _embedding(given: _Given) -> Made:
    return {"weight": (given.size("num_embeddings"), given.size("embedding_dim"))}


def _recurrent(gates: int, given: _Given) -> Made:
    hidden, inputs = given.size("hidden_size"), given.size("input_size")
    project = given.size("proj_size") if given.given("proj_size") else 0
    out = project or hidden
    if given.size("num_layers") > _DEEPEST:
        raise ValueError("num_layers")
    found: Made = {}
    ends = ("", "_reverse") if given.has("bidirectional") else ("",)
    for layer in range(given.size("num_layers")):
        for end in ends:
            found[f"weight_ih_l{layer}{end}"] = (gates * hidden, inputs)
            found[f"weight_hh_l{layer}{end}"] = (gates * hidden, out)
            if given.has("bias"):
                found[f"bias_ih_l{layer}{end}"] = found[f"bias_hh_l{layer}{end}"] = (gates * hidden,)
            if project:
                found[f"weight_hr_l{layer}{end}"] = (out, hidden)
        inputs = out * len(ends)
    return found


def _recurrent_base(given: _Given) -> Made:
    return _recurrent({"LSTM": 4, "GRU": 3, "RNN_TANH": 1, "RNN_RELU": 1}[str(given.mode())], given)


def _cell(gates: int, given: _Given) -> Made:
    rows, hidden = gates * given.size("hidden_size"), given.size("hidden_size")
    biases = {"bias_ih": (rows,), "bias_hh": (rows,)} if given.has("bias") else {}
    return {"weight_ih": (rows, given.size("input_size")), "weight_hh": (rows, hidden), **biases}


def _attention(given: _Given) -> Made:
    width = given.size("embed_dim")
    sizes = [given.size(name) if given.given(name) else width for name in ("kdim", "vdim")]
    found: Made = {"in_proj_weight": (3 * width, width)}
    if sizes != [width, width]:
        found = {
            f"{name}_proj_weight": (width, size) for name, size in zip("qkv", (width, *sizes), strict=True)
        }
    if given.has("bias"):
        found |= {"in_proj_bias": (3 * width,), "out_proj.bias": (width,)}
    if given.has("add_bias_kv"):
        found |= {"bias_k": (1, 1, width), "bias_v": (1, 1, width)}
    return {**found, "out_proj.weight": (width, width)}


def _transformer(decodes: bool, given: _Given) -> Made:
    width, inner, bias = given.size("d_model"), given.size("dim_feedforward"), given.has("bias")
    attention = made("MultiheadAttention", {"embed_dim": width, "bias": bias}) or {}
    linear = {
        "linear1": {"in_features": width, "out_features": inner},
        "linear2": {"in_features": inner, "out_features": width},
    }
    inside: dict[str, Made] = {"self_attn": attention}
    if decodes:
        inside["multihead_attn"] = attention
    for name, arguments in linear.items():
        inside[name] = made("Linear", {**arguments, "bias": bias}) or {}
    for number in range(1, 4 if decodes else 3):
        inside[f"norm{number}"] = made("LayerNorm", {"normalized_shape": width, "bias": bias}) or {}
    return dict(_joined(inside))


def _joined(inside: Mapping[str, Made]) -> Iterator[tuple[str, Shape]]:
    for above, found in inside.items():
        for name, shape in found.items():
            yield f"{above}.{name}", shape


def _loss(given: _Given) -> Made:
    # Weights are no part of what makes a loss where the file tells of them as buffers.
    return {name: weight.shape for name, weight in given.tensors()}


def _adaptive(given: _Given) -> Made:
    inputs, cuts = given.size("in_features"), (*given.sizes("cutoffs"), given.size("n_classes"))
    head = cuts[0] + len(cuts) - 1
    bias: Made = {"head.bias": (head,)} if given.has("head_bias") else {}
    found: Made = {"head.weight": (head, inputs), **bias}
    for place, (start, stop) in enumerate(pairwise(cuts)):
        hidden = int(inputs // given.ratio("div_value") ** (place + 1))
        found[f"tail.{place}.0.weight"] = hidden, inputs
        found[f"tail.{place}.1.weight"] = stop - start, hidden
    return found


def _lazy(given: _Given) -> Made:
    return _with_bias(given, None, None)


_MAKERS: Final[Mapping[str, _Maker]] = {
    **dict.fromkeys((*ACTIVATIONS, *POOLS, *SHAPES), lambda _: {}),
    **dict.fromkeys((*LOSSES,), _loss),
    **dict.fromkeys(("CosineSimilarity", "PairwiseDistance"), lambda _: {}),
    **dict.fromkeys(("CrossMapLRN2d", "LocalResponseNorm"), lambda _: {}),
    **dict.fromkeys((f"Dropout{dims}" for dims in ("", "1d", "2d", "3d")), lambda _: {}),
    **dict.fromkeys(("AlphaDropout", "FeatureAlphaDropout"), lambda _: {}),
    "Linear": _linear,
    "NonDynamicallyQuantizableLinear": _linear,
    "Bilinear": _bilinear,
    "Conv1D": _conv1d_transformers,
    **{f"Conv{dims}d": partial(_convolution, dims) for dims in (1, 2, 3)},
    **{f"ConvTranspose{dims}d": partial(_transposed, dims) for dims in (1, 2, 3)},
    **{f"{kind}Norm{dims}d": _tracked for dims in (1, 2, 3) for kind in ("Batch", "Instance")},
    "SyncBatchNorm": _tracked,
    "FrozenBatchNorm2d": _frozen,
    "LayerNorm": _layer_norm,
    "RMSNorm": lambda given: (
        {"weight": given.sizes("normalized_shape")} if given.has("elementwise_affine") else {}
    ),
    "GroupNorm": _group_norm,
    "Embedding": _embedding,
    "EmbeddingBag": _embedding,
    "PReLU": lambda given: {"weight": (given.size("num_parameters"),)},
    **{name: partial(_recurrent, gates) for name, gates in (("RNN", 1), ("GRU", 3), ("LSTM", 4))},
    "RNNBase": _recurrent_base,
    "AdaptiveLogSoftmaxWithLoss": _adaptive,
    **{f"{name}Cell": partial(_cell, gates) for name, gates in (("RNN", 1), ("GRU", 3), ("LSTM", 4))},
    "MultiheadAttention": _attention,
    "TransformerEncoderLayer": partial(_transformer, False),
    "TransformerDecoderLayer": partial(_transformer, True),
    "LazyLinear": _lazy,
    **{f"Lazy{kind}{dims}d": _lazy for dims in (1, 2, 3) for kind in ("Conv", "ConvTranspose")},
    **{f"Lazy{kind}Norm{dims}d": _tracked for dims in (1, 2, 3) for kind in ("Batch", "Instance")},
}
