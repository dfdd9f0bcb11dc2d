"""A guess in a few words: `Linear 20→256`, `Conv2d 3→64 7×7`."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from ckptaudit.layers.guess import Arguments, Guess


def described(guess: Guess) -> str:
    """The layer and its sizes; "" where no layer is known.

    Numbers that are stand-ins (see `Guess.unknown`) are left out.
    """
    if guess.layer is None:
        return ""
    sizes = _SIZES.get(guess.layer)
    words = "" if sizes is None or not guess.arguments else sizes(guess.arguments)
    around = ", ".join(dict.fromkeys(wrapper.rpartition(".")[2] for wrapper, _ in guess.wrappers))
    return f"{guess.layer} {words}".rstrip() + (f" with {around}" if around else "")


def _numbers(sizes: object) -> str:
    return "×".join(map(str, sizes)) if isinstance(sizes, tuple | list) else str(sizes)


def _pair(source: str, target: str) -> Callable[[Arguments], str]:
    return lambda arguments: f"{arguments[source]}→{arguments[target]}"


def _one(name: str) -> Callable[[Arguments], str]:
    return lambda arguments: _numbers(arguments[name])


def _convolution(arguments: Arguments) -> str:
    groups = arguments["groups"]
    words = f"{arguments['in_channels']}→{arguments['out_channels']} {_numbers(arguments['kernel_size'])}"
    return words if groups == 1 else f"{words} groups {groups}"


def _recurrent(arguments: Arguments) -> str:
    words = [f"{arguments['input_size']}→{arguments.get('proj_size') or arguments['hidden_size']}"]
    if arguments["num_layers"] != 1:
        words.append(f"×{arguments['num_layers']}")
    if arguments["bidirectional"]:
        words.append("bidirectional")
    return " ".join(words)


def _layers(arguments: Arguments) -> str:
    return f"×{arguments['num_layers']}"


_SIZES: Mapping[str, Callable[[Arguments], str]] = {
    "Linear": _pair("in_features", "out_features"),
    "Conv1D": _pair("nx", "nf"),
    "Bilinear": lambda a: f"{a['in1_features']}, {a['in2_features']}→{a['out_features']}",
    **dict.fromkeys(("Embedding", "EmbeddingBag"), lambda a: f"{a['num_embeddings']}×{a['embedding_dim']}"),
    **{f"Conv{kind}{dims}d": _convolution for kind in ("", "Transpose") for dims in (1, 2, 3)},
    **{f"{kind}Norm{dims}d": _one("num_features") for kind in ("Batch", "Instance") for dims in (1, 2, 3)},
    **dict.fromkeys(("SyncBatchNorm", "FrozenBatchNorm2d"), _one("num_features")),
    **dict.fromkeys(("LayerNorm", "RMSNorm"), _one("normalized_shape")),
    "GroupNorm": _one("num_channels"),
    "PReLU": _one("num_parameters"),
    **dict.fromkeys(("RNN", "GRU", "LSTM"), _recurrent),
    **dict.fromkeys(("RNNCell", "GRUCell", "LSTMCell"), _pair("input_size", "hidden_size")),
    "MultiheadAttention": _one("embed_dim"),
    **dict.fromkeys(
        ("TransformerEncoderLayer", "TransformerDecoderLayer"),
        lambda a: f"{a['d_model']}, {a['dim_feedforward']}",
    ),
    **dict.fromkeys(("TransformerEncoder", "TransformerDecoder"), _layers),
    "Transformer": lambda a: f"{a['d_model']} ×{a['num_encoder_layers']} ×{a['num_decoder_layers']}",
    "AdaptiveLogSoftmaxWithLoss": _pair("in_features", "n_classes"),
    "LinearCrossEntropyLoss": _pair("in_features", "num_classes"),
}
