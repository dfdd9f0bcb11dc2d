"""The transformers of torch.nn: one layer of an encoder or decoder, a stack of them, and both stacks."""

from __future__ import annotations

from ckptaudit.layers.guess import Arguments, Guess, ModuleLike
from ckptaudit.layers.parts import Parts, joined

_UNKNOWN = ("nhead", "activation", "layer_norm_eps", "batch_first", "norm_first")

_ENCODES = ({"self_attn"}, {"norm1", "norm2"})
_DECODES = ({"self_attn", "multihead_attn"}, {"norm1", "norm2", "norm3"})

# By the layer that a stack is made of: the stack, and what it calls the layer.
STACKS = {
    "TransformerEncoderLayer": ("TransformerEncoder", "encoder_layer"),
    "TransformerDecoderLayer": ("TransformerDecoder", "decoder_layer"),
}

LAYERS = frozenset(STACKS)


def layer(path: str, parts: Parts) -> Guess | None:
    """TransformerEncoderLayer or TransformerDecoderLayer."""
    inside = parts.names(path)
    attentions, norms = _DECODES if "multihead_attn" in inside else _ENCODES
    up, down = parts.linear(joined(path, "linear1")), parts.linear(joined(path, "linear2"))
    if inside != attentions | norms | {"linear1", "linear2"} or path in parts.forms or not up or not down:
        return None
    width, hidden, bias = up
    attends = {"embed_dim": width, "num_heads": 1, "bias": bias}
    if (
        down != (hidden, width, bias)
        or any(parts.arguments(joined(path, name), "MultiheadAttention") != attends for name in attentions)
        or any(parts.arguments(joined(path, name), "LayerNorm") != _norm(width, bias) for name in norms)
    ):
        return None
    name = "TransformerDecoderLayer" if attentions is _DECODES[0] else "TransformerEncoderLayer"
    arguments = {"d_model": width, "nhead": 1, "dim_feedforward": hidden, "bias": bias}
    return Guess(path, name, "likely", (), arguments, _UNKNOWN)


def _norm(width: object, bias: object) -> Arguments:
    return {"normalized_shape": width} if bias else {"normalized_shape": width, "bias": False}


def stack(path: str, parts: Parts) -> Guess | None:
    """TransformerEncoder or TransformerDecoder: equal layers, and perhaps a norm after them."""
    inside, numbers = parts.names(path), parts.names(joined(path, "layers"))
    first = parts.guesses.get(joined(path, "layers", "0"))
    if first is None or first.layer not in STACKS or first.layer is None or path in parts.forms:
        return None
    if not inside <= {"layers", "norm"} or numbers != {str(number) for number in range(len(numbers))}:
        return None
    for number in numbers:
        other = parts.guesses.get(joined(path, "layers", number))
        if other is None or (other.layer, other.arguments) != (first.layer, first.arguments):
            return None
    name, of = STACKS[first.layer]
    arguments: dict[str, object] = {of: ModuleLike(first.layer, first.arguments), "num_layers": len(numbers)}
    if "norm" in inside:
        norm = parts.arguments(joined(path, "norm"), "LayerNorm")
        if norm is None:
            return None
        arguments["norm"] = ModuleLike("LayerNorm", norm)
    return Guess(path, name, "likely", (), arguments, first.unknown)


def both(path: str, parts: Parts) -> Guess | None:
    """Transformer: an encoder and a decoder, each with its norm."""
    encoder = parts.arguments(joined(path, "encoder"), "TransformerEncoder")
    decoder = parts.arguments(joined(path, "decoder"), "TransformerDecoder")
    if (
        encoder is None
        or decoder is None
        or parts.names(path) != {"encoder", "decoder"}
        or path in parts.forms
    ):
        return None
    one, other = encoder["encoder_layer"], decoder["decoder_layer"]
    if (
        not isinstance(one, ModuleLike)
        or not isinstance(other, ModuleLike)
        or one.arguments != other.arguments
    ):
        return None
    norm = ModuleLike("LayerNorm", _norm(one.arguments["d_model"], one.arguments["bias"]))
    if encoder.get("norm") != norm or decoder.get("norm") != norm:
        return None
    counts = {
        "num_encoder_layers": encoder["num_layers"],
        "num_decoder_layers": decoder["num_layers"],
    }
    return Guess(path, "Transformer", "likely", (), {**one.arguments, **counts}, _UNKNOWN)
