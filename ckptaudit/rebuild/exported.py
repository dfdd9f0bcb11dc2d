"""What a trace or an exported program tells of a layer: the sizes of its tensors, and its one operator.

An exported program keeps, for a module that is a single operator, that operator's name and constant
arguments, without those that are the operator's defaults (torch/_export/serde/serialize.py). Where the
operator is the one that the layer calls, they are what the layer was made with, or what computes the same.
Where it is not, or has arguments that such a layer never gives it, they tell nothing of the layer.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Final, NamedTuple

from ckptaudit.model import ModuleMeta, TensorMeta
from ckptaudit.rebuild.known import ROWS, layer_of

Shapes = Mapping[str, tuple[int, ...]]

_SIZED: Final = ("1d", "2d", "3d")
# The operators whose arguments have the names and defaults of the layer's own, by the layer.
_OPERATORS: Final[Mapping[str, str]] = {
    **{
        name: name.lower()
        for name in ("Sigmoid", "Tanh", "ReLU", "SELU", "SiLU", "Mish", "ELU", "CELU", "GELU")
    },
    **{
        name: name.lower()
        for name in ("GLU", "Hardswish", "Hardsigmoid", "Hardshrink", "Softshrink", "Hardtanh")
    },
    **{name: name.lower() for name in ("PReLU", "Softplus", "Threshold", "Softmax", "Linear", "Bilinear")},
    **{name: name.lower() for name in ("Embedding", "Dropout", "Flatten", "Unflatten")},
    **{f"Conv{size}": f"conv{size}" for size in _SIZED},
    **{f"ConvTranspose{size}": f"conv_transpose{size}" for size in _SIZED},
    **{f"BatchNorm{size}": "batch_norm" for size in _SIZED},
    **{f"InstanceNorm{size}": "instance_norm" for size in _SIZED},
    **{f"AvgPool{size}": f"avg_pool{size}" for size in _SIZED},
    **{f"MaxPool{size}": f"max_pool{size}" for size in _SIZED},
    **{f"AdaptiveAvgPool{size}": f"adaptive_avg_pool{size}" for size in _SIZED},
    **{f"{kind}Pad{size}": "pad" for size in _SIZED for kind in ("Circular", "Reflection", "Replication")},
    **{f"{kind}Pad{size}": "pad" for size in _SIZED for kind in ("Zero", "Constant")},
    "NonDynamicallyQuantizableLinear": "linear",
    "LogSigmoid": "log_sigmoid",
    "LogSoftmax": "log_softmax",
    "LeakyReLU": "leaky_relu",
    "RReLU": "rrelu",
    "ReLU6": "relu6",
    "GroupNorm": "group_norm",
    "LayerNorm": "layer_norm",
    "RMSNorm": "rms_norm",
    "PixelShuffle": "pixel_shuffle",
    "PixelUnshuffle": "pixel_unshuffle",
    "ChannelShuffle": "channel_shuffle",
    "CosineSimilarity": "cosine_similarity",
    "PairwiseDistance": "pairwise_distance",
}
_RENAMED: Final = {"pad": "padding", "sizes": "unflattened_size"}
_INPLACE: Final = frozenset(
    {"ReLU", "ReLU6", "SELU", "SiLU", "Mish", "ELU", "CELU", "Hardswish", "Hardsigmoid", "Hardtanh"}
    | {"LeakyReLU", "RReLU", "Threshold", "Dropout"}
)
# Arguments of operators that are none of the layer's, and what the reader adds of its own.
_FLAGS: Final = ("cudnn_enable", "cudnn_enabled", "use_input_stats", "non_persistent_buffers")
# The operators that take the mode of the layer that calls them, by the layer.
_MODED: Final[Mapping[str, str]] = {
    **{f"Dropout{size}": "feature_dropout" for size in _SIZED},
    **{f"BatchNorm{size}": "batch_norm" for size in _SIZED},
    **{f"InstanceNorm{size}": "instance_norm" for size in _SIZED},
    "Dropout": "dropout",
    "AlphaDropout": "alpha_dropout",
    "FeatureAlphaDropout": "feature_alpha_dropout",
    "RReLU": "rrelu",
}


class Told(NamedTuple):
    """What an operator tells of its layer.

    `config` are attributes. `open` are the arguments that it does not tell, and that decide what the layer
    computes; `loose` those that it does not tell either, and that change no output.
    """

    config: dict[str, object]
    open: tuple[str, ...] = ()
    loose: tuple[str, ...] = ()


def of_operator(layer: str, meta: ModuleMeta) -> Told | None:
    """The attributes of a layer that is one operator, those left out being torch's defaults.

    None where the operator is not known, or is not the one that the layer calls.
    """
    name = _operator(meta)
    plain = "relu6" if layer == "ReLU6" and name.rstrip("_") == "hardtanh" else name.rstrip("_")
    if _OPERATORS.get(layer) != plain:
        return None
    given = {key: _tupled(value) for key, value in (meta.config or {}).items() if key not in _FLAGS}
    if plain == "pad" and not _pads(layer, given):
        return None
    if layer == "ReLU6":
        given = {key: value for key, value in given.items() if key not in ("min_val", "max_val")}
    if str(meta.private["operator"]).endswith(".padding"):
        given.setdefault("padding", "valid")  # the overload for words has this one as its default
    config = {_RENAMED.get(key, key): value for key, value in given.items()}
    if not config.keys() <= ROWS[layer].keys():
        return None
    if layer in _INPLACE and name.endswith("_"):
        config["inplace"] = True
    return _adapted(layer, config)


def _operator(meta: ModuleMeta) -> str:
    """The name in torch.ops.aten.conv2d.default."""
    target = meta.private.get("operator")
    return target.split(".")[3] if isinstance(target, str) and target.count(".") > 3 else ""


def _pads(layer: str, given: dict[str, object]) -> bool:
    """Whether the layer pads in this way; takes out of `given` what says so."""
    kind = layer.partition("Pad")[0]
    mode = {"Circular": "circular", "Reflection": "reflect", "Replication": "replicate"}.get(kind, "constant")
    fits = given.pop("mode", "constant") == mode
    return fits and (kind == "Constant" or given.pop("value", 0.0) == 0)


def _adapted(layer: str, config: dict[str, object]) -> Told:
    """What the operator takes in another way than the layer does, or takes of the example's sizes."""
    if layer == "PairwiseDistance" and "p" in config:
        config["norm"] = config.pop("p")
    elif layer == "PReLU":
        return Told(config, loose=("init",))
    elif layer == "Embedding":
        if config.get("padding_idx") == -1:
            config["padding_idx"] = None
        # One with a largest norm is two operators: here there is none, of whatever type.
        return Told(config, loose=("norm_type",))
    elif layer == "Flatten":
        config.setdefault("start_dim", 0)
    elif layer in ("AdaptiveAvgPool2d", "AdaptiveAvgPool3d"):
        # A size that was left open is that of the example by now: 8 of an input of 8. One that pools
        # everything is meant so.
        sizes = config.get("output_size")
        if isinstance(sizes, tuple) and set(sizes) == {1}:
            return Told(config, loose=("output_size",))
        return Told(config, open=("output_size",))
    elif layer in ("Softmax", "LogSoftmax") and config.get("dim") in (0, 1):
        return _without(config, "dim")  # which None is, by the number of the example's dimensions
    elif layer.startswith(("BatchNorm", "InstanceNorm")) and config.get("momentum") == 0:
        return _without(config, "momentum")  # which None is while evaluating
    # A program without any operator that works in place may have lost them.
    is_open = layer in _INPLACE and "inplace" not in config
    return Told(config, loose=("inplace",) if is_open else ())


def _without(config: dict[str, object], name: str) -> Told:
    return Told({key: value for key, value in config.items() if key != name}, open=(name,))


def keeps_inplace(modules: Iterable[ModuleMeta]) -> bool:
    """Whether the program has operators that work in place, which making it functional replaces."""
    names = [_operator(meta) for meta in modules]
    return any(name.endswith("_") and not name.endswith("__") for name in names)


def with_modes(
    modules: Mapping[str, ModuleMeta], held: Mapping[str, Mapping[str, TensorMeta]]
) -> dict[str, ModuleMeta]:
    """The modules of a program, with the mode in which it was exported where that is known.

    Few operators take the mode. A program of which one says that it evaluates, and none that it trains, was
    exported for evaluation as a whole.
    """
    modes = {path: _mode(meta, held.get(path, {})) for path, meta in modules.items()}
    trains = True in modes.values() or any(
        _may_train(meta, held.get(path, {})) for path, meta in modules.items() if modes[path] is None
    )
    other = False if False in modes.values() and not trains else None
    return {
        path: meta._replace(training=other if modes[path] is None else modes[path])
        for path, meta in modules.items()
    }


def _mode(meta: ModuleMeta, tensors: Mapping[str, TensorMeta]) -> bool | None:
    layer = layer_of(meta.cls) or ""
    if layer not in _MODED or _operator(meta).rstrip("_") != _MODED[layer]:
        return None
    if layer == "RReLU":
        return meta.training is True  # the operator's default is to evaluate
    if "Norm" in layer and "running_mean" not in tensors:
        return None  # it takes the statistics of its input, whatever the mode
    if layer.startswith("Instance"):
        told = (meta.config or {}).get("use_input_stats")
        return told if isinstance(told, bool) else None
    return meta.training


def _may_train(meta: ModuleMeta, tensors: Mapping[str, TensorMeta]) -> bool:
    """Whether a module that does not tell its mode looks like one that trains."""
    layer = layer_of(meta.cls)
    if layer is None:
        return meta.training is True
    # One that trains counts its batches first, which is an operator more.
    return layer.startswith("BatchNorm") and "num_batches_tracked" in tensors


def _tupled(value: object) -> object:
    return tuple(value) if isinstance(value, list) else value


def sizes_of(layer: str, tensors: Mapping[str, TensorMeta]) -> dict[str, object]:
    """Arguments of a layer that the shapes of its tensors prove."""
    shapes = {name: row.shape for name, row in tensors.items() if row.shape is not None}
    rule = _rule(layer)
    try:
        return rule(shapes) if rule is not None else {}
    except (KeyError, IndexError, ValueError):
        return {}  # not the tensors that such a layer has


def _rule(layer: str) -> Callable[[Shapes], dict[str, object]] | None:
    if layer.startswith("Conv"):
        return _transposed if "Transpose" in layer else _convolution
    if layer.startswith(("BatchNorm", "InstanceNorm", "SyncBatchNorm")):
        return _tracked
    return _RULES.get(layer)


def _convolution(shapes: Shapes) -> dict[str, object]:
    out, inside, *kernel = shapes["weight"]
    return {"in_channels": inside, "out_channels": out, "kernel_size": tuple(kernel)}


def _transposed(shapes: Shapes) -> dict[str, object]:
    inside, out, *kernel = shapes["weight"]
    found: dict[str, object] = {"in_channels": inside, "out_channels": out, "kernel_size": tuple(kernel)}
    if out and "bias" in shapes:
        found["groups"] = shapes["bias"][0] // out  # a bias is for all groups
    return found


def _tracked(shapes: Shapes) -> dict[str, object]:
    found: dict[str, object] = {
        "affine": "weight" in shapes,
        "track_running_stats": "running_mean" in shapes,
    }
    if shapes:
        found["num_features"] = shapes.get("weight", shapes.get("running_mean", (0,)))[0]
    return found


def _linear(shapes: Shapes) -> dict[str, object]:
    return {"in_features": shapes["weight"][1], "out_features": shapes["weight"][0]}


def _bilinear(shapes: Shapes) -> dict[str, object]:
    out, first, second = shapes["weight"]
    return {"in1_features": first, "in2_features": second, "out_features": out}


def _table(shapes: Shapes) -> dict[str, object]:
    return {"num_embeddings": shapes["weight"][0], "embedding_dim": shapes["weight"][1]}


def _normalized(shapes: Shapes) -> dict[str, object]:
    if "weight" not in shapes:
        return {"elementwise_affine": False}
    return {"elementwise_affine": True, "normalized_shape": shapes["weight"]}


def _grouped(shapes: Shapes) -> dict[str, object]:
    return {"affine": True, "num_channels": shapes["weight"][0]} if shapes else {"affine": False}


def _cell(shapes: Shapes) -> dict[str, object]:
    sizes = {"input_size": shapes["weight_ih"][1], "hidden_size": shapes["weight_hh"][1]}
    return {**sizes, "bias": "bias_ih" in shapes}


def _recurrent(gates: int, projects: bool) -> Callable[[Shapes], dict[str, object]]:
    def rule(shapes: Shapes) -> dict[str, object]:
        rows, columns = shapes["weight_ih_l0"]
        found: dict[str, object] = {
            "input_size": columns,
            "hidden_size": rows // gates,
            "num_layers": sum(name.startswith("weight_ih_l") and name[11:].isdecimal() for name in shapes),
            "bias": "bias_ih_l0" in shapes,
            "bidirectional": "weight_ih_l0_reverse" in shapes,
        }
        if projects:
            found["proj_size"] = shapes["weight_hr_l0"][0] if "weight_hr_l0" in shapes else 0
        return found

    return rule


def _attention(shapes: Shapes) -> dict[str, object]:
    if "in_proj_weight" in shapes:
        return {"embed_dim": shapes["in_proj_weight"][1]}
    width = {"embed_dim": shapes["q_proj_weight"][0]}
    return {**width, "kdim": shapes["k_proj_weight"][1], "vdim": shapes["v_proj_weight"][1]}


_RULES: Final[Mapping[str, Callable[[Shapes], dict[str, object]]]] = {
    "Linear": _linear,
    "NonDynamicallyQuantizableLinear": _linear,
    "Bilinear": _bilinear,
    "Embedding": _table,
    "EmbeddingBag": _table,
    "LayerNorm": _normalized,
    "RMSNorm": _normalized,
    "GroupNorm": _grouped,
    "PReLU": lambda shapes: {"num_parameters": shapes["weight"][0]},
    **dict.fromkeys(("RNNCell", "GRUCell", "LSTMCell"), _cell),
    "RNN": _recurrent(1, False),
    "GRU": _recurrent(3, False),
    "LSTM": _recurrent(4, True),
    "MultiheadAttention": _attention,
}
