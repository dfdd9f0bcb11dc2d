"""What a trace or an exported program tells of a layer: the sizes of its tensors, and its one operator.

An exported program keeps, for a module that is a single operator, that operator's name and constant
arguments, without those that are the operator's defaults (torch/_export/serde/serialize.py). Where the
operator is the one that the layer calls, they are what the layer was made with, or what computes the same.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

from ckptaudit.model import ModuleMeta, TensorMeta

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
    | {"LeakyReLU", "Threshold", "Dropout"}
)


def of_operator(layer: str, meta: ModuleMeta) -> dict[str, object] | None:
    """The attributes of a layer that is one operator, those left out being torch's defaults.

    None where the operator is not known, or is not the one that the layer calls.
    """
    target = meta.private.get("operator")
    name = target.split(".")[3] if isinstance(target, str) and target.count(".") > 3 else ""
    plain = "relu6" if layer == "ReLU6" and name.rstrip("_") == "hardtanh" else name.rstrip("_")
    if _OPERATORS.get(layer) != plain:
        return None
    config = {_RENAMED.get(key, key): _tupled(value) for key, value in (meta.config or {}).items()}
    if layer in _INPLACE:
        config["inplace"] = name.endswith("_")
    return _adapted(layer, config)


def _adapted(layer: str, config: dict[str, object]) -> dict[str, object] | None:
    """What the operator takes in another way than the layer does."""
    if layer == "PairwiseDistance" and "p" in config:
        config["norm"] = config.pop("p")
    elif layer == "Embedding" and config.get("padding_idx") == -1:
        config["padding_idx"] = None
    elif layer == "Flatten":
        config.setdefault("start_dim", 0)
    elif layer.startswith("Adaptive"):
        # A size that was left open is that of the example by now: 8 of an input of 8.
        sizes = config.get("output_size")
        if isinstance(sizes, tuple) and len(set(sizes)) > 1:
            return None
    elif layer.startswith("BatchNorm") and config.get("momentum") == 0:
        return None  # which evaluation passes where the momentum is None
    return config


def _tupled(value: object) -> object:
    return tuple(value) if isinstance(value, list) else value


def sizes_of(layer: str, tensors: Mapping[str, TensorMeta]) -> dict[str, object]:
    """Arguments of a layer that the shapes of its tensors prove."""
    shapes = {name: row.shape for name, row in tensors.items() if row.shape is not None}
    rule = _rule(layer)
    try:
        return rule(shapes) if rule is not None else {}
    except (KeyError, IndexError):
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
    return {"in_channels": inside, "out_channels": out, "kernel_size": tuple(kernel)}


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
