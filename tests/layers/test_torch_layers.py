"""Every layer of torch.nn that owns tensors, made with torch itself and told from its state dict."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ckptaudit.layers import Guess
from tests.layers.models import made, named, shapes_of, told_of

torch = pytest.importorskip("torch", reason="the oracle is torch itself")
nn = torch.nn

pytestmark = [
    pytest.mark.filterwarnings("ignore:Lazy modules"),
    pytest.mark.filterwarnings("ignore:.*deprecated"),
    pytest.mark.filterwarnings("ignore:enable_nested_tensor"),
    pytest.mark.filterwarnings("ignore:.*zero-element"),
]


def _weight(*shape: int) -> Any:
    return torch.ones(shape)


def _encoder(**how: Any) -> Any:
    return nn.TransformerEncoderLayer(8, 2, 12, **how)


def _decoder(**how: Any) -> Any:
    return nn.TransformerDecoderLayer(8, 2, 12, **how)


def _norms(features: int) -> list[Any]:
    return [
        ((features,), {}),
        ((features,), {"affine": False}),
        ((features,), {"track_running_stats": False}),
        ((features,), {"bias": False}),
        ((1,), {"bias": False, "track_running_stats": False}),
    ]


_CONV = [
    ((3, 6, 3), {}),
    ((4, 4, 1), {"bias": False}),
    ((6, 4, 5), {"groups": 2}),
    ((4, 8, 3), {"groups": 4, "bias": False}),
]
_LAZY_CONV: list[Any] = [((6, 3), {}), ((6, 3), {"bias": False})]
_LAZY_NORM: list[Any] = [((), {}), ((), {"affine": False})]
_RECURRENT: list[Any] = [
    ((5, 7), {}),
    ((5, 7, 3), {"bias": False}),
    ((7, 7, 2), {"bidirectional": True}),
    ((1, 1), {}),
]
_CELL = [((5, 7), {}), ((7, 7), {"bias": False})]
_CLASSES = [((), {"weight": _weight(5)}), ((), {"weight": _weight(1)})]

# The classes that can own parameters or buffers, with several sets of arguments each.
CASES: dict[str, list[Any]] = {
    "AdaptiveLogSoftmaxWithLoss": [
        ((64, 100, [10, 50]), {}),
        ((64, 100, [10, 20, 40]), {"div_value": 2.0, "head_bias": True}),
        ((9, 7, [3]), {"div_value": 3.0}),
    ],
    "BCELoss": [((), {"weight": _weight(5)}), ((), {"weight": _weight(4, 5)}), ((), {"weight": _weight(1)})],
    "BCEWithLogitsLoss": [
        ((), {"weight": _weight(5)}),
        ((), {"pos_weight": _weight(5)}),
        ((), {"weight": _weight(4, 5), "pos_weight": _weight(5)}),
        ((), {"pos_weight": _weight(5, 1, 1)}),
    ],
    **{f"BatchNorm{dims}d": _norms(6) for dims in (1, 2, 3)},
    "Bilinear": [((4, 5, 6), {}), ((5, 5, 5), {"bias": False})],
    **{f"Conv{dims}d": _CONV for dims in (1, 2, 3)},
    **{f"ConvTranspose{dims}d": _CONV for dims in (1, 2, 3)},
    "CrossEntropyLoss": _CLASSES,
    "Embedding": [((50, 4), {}), ((3, 9), {"padding_idx": 0}), ((4, 4), {})],
    "EmbeddingBag": [((50, 4), {}), ((3, 9), {"mode": "sum"})],
    "GRU": _RECURRENT,
    "GRUCell": _CELL,
    "GroupNorm": [((2, 6), {}), ((1, 1), {}), ((3, 6), {"bias": False})],
    **{
        f"InstanceNorm{dims}d": [
            ((6,), {"affine": True}),
            ((6,), {"affine": True, "track_running_stats": True}),
            ((6,), {"track_running_stats": True}),
        ]
        for dims in (1, 2, 3)
    },
    "LSTM": [*_RECURRENT, ((5, 7, 2), {"bidirectional": True, "proj_size": 3})],
    "LSTMCell": _CELL,
    "LayerNorm": [((6,), {}), ((6,), {"bias": False}), (((3, 4),), {}), (((3, 4),), {"bias": False})],
    **{f"LazyBatchNorm{dims}d": _LAZY_NORM for dims in (1, 2, 3)},
    **{f"LazyConv{dims}d": _LAZY_CONV for dims in (1, 2, 3)},
    **{f"LazyConvTranspose{dims}d": _LAZY_CONV for dims in (1, 2, 3)},
    **{
        f"LazyInstanceNorm{dims}d": [((), {}), ((), {"affine": True, "track_running_stats": False})]
        for dims in (1, 2, 3)
    },
    "LazyLinear": [((6,), {}), ((6,), {"bias": False})],
    "Linear": [((4, 6), {}), ((6, 6), {}), ((1, 1), {"bias": False}), ((3, 4), {"bias": False})],
    "LinearCrossEntropyLoss": [
        ((8, 5), {}),
        ((8, 5), {"bias": True, "weight": _weight(5)}),
        ((8, 5), {"out_features": (2, 3), "weight": _weight(5)}),
    ],
    "MultiLabelSoftMarginLoss": _CLASSES,
    "MultiMarginLoss": _CLASSES,
    "MultiheadAttention": [
        ((8, 2), {}),
        ((8, 2), {"bias": False}),
        ((8, 2), {"kdim": 5, "vdim": 6}),
        ((8, 2), {"kdim": 5, "bias": False, "add_bias_kv": True}),
        ((8, 4), {"add_bias_kv": True}),
    ],
    "NLLLoss": _CLASSES,
    "NLLLoss2d": _CLASSES,
    "PReLU": [((), {}), ((7,), {})],
    "ParameterDict": [(({"left": nn.Parameter(_weight(2)), "right": nn.Parameter(_weight(3, 4))},), {})],
    "ParameterList": [
        (([nn.Parameter(_weight(2)), nn.Parameter(_weight(3, 4))],), {}),
        (([nn.Parameter(_weight(1, number)) for number in range(1, 13)],), {}),
    ],
    "RMSNorm": [((6,), {}), (((3, 4),), {})],
    "RNN": _RECURRENT,
    "RNNBase": [(("LSTM", 5, 7), {}), (("GRU", 5, 7, 2), {"bias": False}), (("RNN_TANH", 5, 7), {})],
    "RNNCell": _CELL,
    "RNNCellBase": [((5, 7, True, 2), {}), ((5, 7, False, 4), {})],
    "SyncBatchNorm": _norms(6),
    "Transformer": [((8, 2, 2, 1, 12), {}), ((8, 2, 1, 2, 12), {"bias": False})],
    "TransformerDecoder": [
        ((_decoder(), 2), {}),
        ((_decoder(bias=False), 1), {"norm": nn.LayerNorm(8, bias=False)}),
    ],
    "TransformerDecoderLayer": [((8, 2, 12), {}), ((8, 4, 8), {"bias": False})],
    "TransformerEncoder": [((_encoder(), 2), {}), ((_encoder(), 11), {"norm": nn.LayerNorm(8)})],
    "TransformerEncoderLayer": [((8, 2, 12), {}), ((8, 4, 8), {"bias": False})],
}

EACH = [
    pytest.param(name, *how, id=f"{name}-{place}")
    for name, cases in CASES.items()
    for place, how in enumerate(cases)
]

# Where nothing but the name of a module could tell.
NO_LAYER_OF_ITS_OWN = {"ParameterDict", "LinearCrossEntropyLoss"}


def same(module: Any, guess: Guess) -> bool:
    """Whether the layer that is guessed has exactly the tensors of the module."""
    assert guess.layer is not None
    return shapes_of(made(guess.layer, guess.arguments)) == shapes_of(module)


def test_all_classes_are_tried() -> None:
    assert len(CASES) == 59
    stateless = (nn.Module, nn.ModuleList, nn.ModuleDict, nn.Sequential, nn.DataParallel)
    owners = {
        name
        for name in dir(nn)
        if isinstance(found := getattr(nn, name), type)
        and issubclass(found, nn.Module)
        and not issubclass(found, stateless[1:])
    }
    assert CASES.keys() <= owners


@pytest.mark.parametrize("versions", [True, False])
@pytest.mark.parametrize(("name", "args", "how"), EACH)
def test_the_layer_is_named(name: str, args: Any, how: Any, versions: bool) -> None:
    module = getattr(nn, name)(*args, **how)
    guess = told_of(module, versions=versions)[""]
    assert named(name, guess)
    assert guess.confidence != "certain" or guess.layer == name
    assert (guess.layer is None) == (guess.confidence is None)


@pytest.mark.parametrize("versions", [True, False])
@pytest.mark.parametrize(("name", "args", "how"), EACH)
def test_the_arguments_give_the_same_tensors(name: str, args: Any, how: Any, versions: bool) -> None:
    module = getattr(nn, name)(*args, **how)
    guess = told_of(module, versions=versions)[""]
    if guess.layer is None:
        assert name in NO_LAYER_OF_ITS_OWN
    elif guess.layer not in ("Conv1D", "FrozenBatchNorm2d"):  # which are not torch's own
        assert same(module, guess)


@pytest.mark.parametrize(("name", "args", "how"), EACH)
def test_a_layer_deep_inside_is_told_like_one_alone(name: str, args: Any, how: Any) -> None:
    module = nn.ModuleDict({"body": nn.ModuleDict({"part": getattr(nn, name)(*args, **how)})})
    guess = told_of(module)["body.part"]
    assert named(name, guess)
    assert guess.confidence != "certain" or guess.layer == name


sizes = st.integers(1, 9)


@st.composite
def modules(draw: st.DrawFn) -> Any:
    """A module of torch.nn with odd arguments."""
    a, b, groups, kernel = draw(sizes), draw(sizes), draw(st.integers(1, 3)), draw(st.integers(1, 5))
    flag, dims = draw(st.booleans()), draw(st.integers(1, 3))
    transposed = draw(st.sampled_from(["", "Transpose"]))
    makers = [
        lambda: nn.Linear(a, b, bias=flag),
        lambda: nn.Embedding(a, b),
        lambda: getattr(nn, f"Conv{transposed}{dims}d")(
            a * groups, b * groups, kernel, groups=groups, bias=flag
        ),
        lambda: getattr(nn, f"BatchNorm{dims}d")(a, affine=flag),
        lambda: nn.LayerNorm((a, b)[: 1 + flag]),
        lambda: nn.GroupNorm(groups, a * groups),
        lambda: nn.RMSNorm(a),
        lambda: nn.Bilinear(a, b, kernel, bias=flag),
        lambda: getattr(nn, ("RNN", "GRU", "LSTM")[dims - 1])(a, b, groups, bias=flag, bidirectional=a > 4),
        lambda: nn.LSTM(a, b + 1, groups, proj_size=b),
        lambda: getattr(nn, ("RNNCell", "GRUCell", "LSTMCell")[dims - 1])(a, b, bias=flag),
        lambda: nn.MultiheadAttention(2 * a, 2, kdim=b, add_bias_kv=flag),
        lambda: nn.PReLU(a),
    ]
    return draw(st.sampled_from(makers))()


@settings(max_examples=150, deadline=None)
@given(modules(), st.booleans())
def test_odd_arguments_come_back(module: Any, versions: bool) -> None:
    guess = told_of(module, versions=versions)[""]
    name = type(module).__name__
    assert named(name, guess)
    assert guess.confidence != "certain" or guess.layer == name
    if guess.layer != "Conv1D":
        assert same(module, guess)


@settings(max_examples=50, deadline=None)
@given(st.lists(modules(), min_size=1, max_size=6), st.booleans())
def test_neighbours_never_make_an_impossible_layer(parts: list[Any], flag: bool) -> None:
    whole = (
        nn.Sequential(*parts) if flag else nn.ModuleDict({f"part{i}": part for i, part in enumerate(parts)})
    )
    found = told_of(whole, versions=flag)
    for name, part in whole.named_children():
        assert named(type(part).__name__, found[name])
        if found[name].layer != "Conv1D":
            assert same(part, found[name])
