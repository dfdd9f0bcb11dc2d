"""Which constructor arguments give a recurrent layer, or one cell of it, tensors of these shapes.

PyTorch keeps the gates of one direction of one layer in one matrix: `weight_ih_l0_reverse` is
(gates * hidden, inputs), see torch/nn/modules/rnn.py.
"""

from __future__ import annotations

from functools import partial

from ckptaudit.layers.fits import Fit, Shape, Shapes
from ckptaudit.layers.guess import Arguments


def cell(gates: int) -> Fit:
    """The fit of RNNCell (1 gate), GRUCell (3) and LSTMCell (4)."""
    return partial(_cell, gates)


def _cell(gates: int, shapes: Shapes) -> Arguments | None:
    inputs, hidden = shapes["weight_ih"], shapes["weight_hh"]
    if len(inputs) != 2 or len(hidden) != 2 or hidden[0] != gates * hidden[1] or inputs[0] != hidden[0]:
        return None
    biases = {shapes[name] for name in ("bias_ih", "bias_hh") if name in shapes}
    if biases - {hidden[:1]} or ("bias_ih" in shapes) != ("bias_hh" in shapes):
        return None
    return {"input_size": inputs[1], "hidden_size": hidden[1], "bias": bool(biases)}


def cell_base(shapes: Shapes) -> Arguments | None:
    """RNNCellBase: any number of gates."""
    hidden = shapes["weight_hh"]
    if len(hidden) != 2 or not hidden[1] or not hidden[0] or hidden[0] % hidden[1]:
        return None
    gates = hidden[0] // hidden[1]
    fitted = _cell(gates, shapes)
    return None if fitted is None else {**fitted, "num_chunks": gates}


def layers(gates: int) -> Fit:
    """The fit of RNN (1 gate), GRU (3) and LSTM (4)."""
    return partial(_layers, gates, None)


def base(shapes: Shapes) -> Arguments | None:
    """RNNBase: what RNN, GRU and LSTM inherit from, in each of their modes."""
    for mode, gates in (("LSTM", 4), ("GRU", 3), ("RNN_TANH", 1)):
        fitted = _layers(gates, mode, shapes)
        if fitted is not None:
            return fitted
    return None


def _layers(gates: int, mode: str | None, shapes: Shapes) -> Arguments | None:
    first = shapes["weight_ih_l0"]
    if len(first) != 2 or first[0] % gates or not first[0]:
        return None
    hidden = first[0] // gates
    projected = shapes.get("weight_hr_l0")
    arguments: dict[str, object] = {
        "input_size": first[1],
        "hidden_size": hidden,
        "num_layers": 1 + max(map(_layer_of, shapes)),
        "bias": "bias_ih_l0" in shapes,
        "bidirectional": "weight_ih_l0_reverse" in shapes,
    }
    if projected is not None:
        if gates != 4 or len(projected) != 2 or not 0 < projected[0] < hidden:
            return None
        arguments["proj_size"] = projected[0]
    if len(shapes) > 10_000 or dict(shapes) != _expected(gates, arguments, len(shapes)):
        return None
    return arguments if mode is None else {"mode": mode, **arguments}


def _layer_of(name: str) -> int:
    """`weight_ih_l2_reverse` is of layer 2."""
    digits = name.removesuffix("_reverse").rpartition("_l")[2]
    return int(digits) if digits.isdecimal() and digits.isascii() and len(digits) < 5 else 0


def _expected(gates: int, arguments: Arguments, most: int) -> dict[str, Shape]:
    """The tensors that torch makes for these arguments; not many more than `most`."""
    inputs, hidden, number, projected = (
        _whole(arguments.get(name, 0)) for name in ("input_size", "hidden_size", "num_layers", "proj_size")
    )
    out = projected or hidden
    found: dict[str, Shape] = {}
    for layer in range(number):
        if len(found) > most:
            break
        for end in ("", "_reverse") if arguments["bidirectional"] else ("",):
            found[f"weight_ih_l{layer}{end}"] = (gates * hidden, inputs)
            found[f"weight_hh_l{layer}{end}"] = (gates * hidden, out)
            if arguments["bias"]:
                found[f"bias_ih_l{layer}{end}"] = found[f"bias_hh_l{layer}{end}"] = (gates * hidden,)
            if projected:
                found[f"weight_hr_l{layer}{end}"] = (projected, hidden)
        inputs = out * (2 if arguments["bidirectional"] else 1)
    return found


def _whole(argument: object) -> int:
    assert isinstance(argument, int)
    return argument
