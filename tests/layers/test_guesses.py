"""What names and neighbours tell, and what nothing tells."""

from __future__ import annotations

import sys
from types import FrameType

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ckptaudit.layers import described, guesses
from ckptaudit.layers.registry import LAYERS
from tests.layers.models import Shape, everything, layers, tensors, told

NORM = ("weight", "bias")
TRACKED = (*NORM, "running_mean", "running_var")


def vectors(path: str, size: int, names: tuple[str, ...] = NORM) -> dict[str, Shape]:
    return {f"{path}.{name}": (size,) for name in names}


def batch_norm(path: str, size: int) -> dict[str, Shape]:
    return {**vectors(path, size, TRACKED), f"{path}.num_batches_tracked": ()}


def dense(path: str, inner: int, outer: int, bias: bool = True) -> dict[str, Shape]:
    return {f"{path}.weight": (outer, inner), **({f"{path}.bias": (outer,)} if bias else {})}


@pytest.mark.parametrize(
    ("shapes", "expected"),
    [
        pytest.param(dense("fc", 3, 4), {"fc": "Linear"}, id="linear"),
        pytest.param({"wte.weight": (50, 4)}, {"wte": "Embedding"}, id="embedding by its name"),
        pytest.param({"query_embed.weight": (50, 4)}, {"query_embed": "Embedding"}, id="last word"),
        pytest.param({"embed_proj.weight": (50, 4)}, {"embed_proj": "Linear"}, id="last word, a projection"),
        pytest.param({"lm_head.weight": (50000, 4)}, {"lm_head": "Linear"}, id="a head is no table"),
        pytest.param({"0.weight": (50000, 64)}, {"0": "Embedding"}, id="a table by its height"),
        pytest.param(
            {**dense("c_attn", 4, 12), **dense("c_proj", 4, 4)},
            {"c_attn": "Linear", "c_proj": "Linear"},
            id="square, beside (out, in)",
        ),
        pytest.param(
            {
                "c_attn.weight": (4, 12),
                "c_attn.bias": (12,),
                "c_proj.weight": (4, 4),
                "c_proj.bias": (4,),
            },
            {"c_attn": "Conv1D", "c_proj": "Conv1D"},
            id="square, beside (in, out)",
        ),
        pytest.param(
            {"conv.weight": (8, 3, 5, 5), **batch_norm("bn", 8)},
            {"conv": "Conv2d", "bn": "BatchNorm2d"},
            id="2d after a convolution",
        ),
        pytest.param(
            {"conv.weight": (8, 3, 5), **batch_norm("bn", 8)},
            {"conv": "Conv1d", "bn": "BatchNorm1d"},
            id="1d after a convolution",
        ),
        pytest.param(
            {"conv.weight": (8, 3, 5, 5, 5), **batch_norm("bn", 8)},
            {"conv": "Conv3d", "bn": "BatchNorm3d"},
            id="3d after a convolution",
        ),
        pytest.param(
            {**dense("0", 5, 8), **batch_norm("1", 8)},
            {"0": "Linear", "1": "BatchNorm1d"},
            id="1d after a matrix",
        ),
        pytest.param(
            {"c.weight": (8, 3, 5, 5), **batch_norm("bn1", 8), **dense("fc", 8, 6), **batch_norm("bn2", 6)},
            {"c": "Conv2d", "bn1": "BatchNorm2d", "fc": "Linear", "bn2": "BatchNorm1d"},
            id="each after its own",
        ),
        pytest.param(
            {"c.weight": (8, 3, 3, 3), **vectors("bn", 8, TRACKED)},
            {"c": "Conv2d", "bn": "FrozenBatchNorm2d"},
            id="statistics that are not counted",
        ),
        pytest.param(
            {**dense("fc", 4, 4), **vectors("norm", 4)}, {"fc": "Linear", "norm": "LayerNorm"}, id="ln"
        ),
        pytest.param(
            {
                "c1.weight": (32, 32, 3, 3),
                **vectors("n1", 32),
                "c2.weight": (32, 32, 3, 3),
                **vectors("n2", 32),
            },
            {"c1": "Conv2d", "n1": "GroupNorm", "c2": "Conv2d", "n2": "GroupNorm"},
            id="between convolutions",
        ),
        pytest.param({**dense("q", 4, 4), "norm.weight": (4,)}, {"q": "Linear", "norm": "RMSNorm"}, id="rms"),
        pytest.param({"act.weight": (1,)}, {"act": "PReLU"}, id="one slope"),
        pytest.param({"criterion.pos_weight": (4,)}, {"criterion": "BCEWithLogitsLoss"}, id="loss"),
        pytest.param({"up.weight": (16, 8, 2, 2)}, {"up": "ConvTranspose2d"}, id="upwards"),
        pytest.param({"up.weight": (16, 8, 3, 3)}, {"up": "Conv2d"}, id="upwards, after an interpolation"),
        pytest.param(
            {"decoder.0.weight": (8, 8, 4, 4), "encoder.0.weight": (8, 8, 4, 4)},
            {"decoder.0": "ConvTranspose2d", "encoder.0": "Conv2d"},
            id="upwards, in a decoder",
        ),
        pytest.param(
            {"conv1d.weight": (8, 1, 4), "lin.weight": (4, 8)}, {"conv1d": "Conv1d", "lin": "Linear"}, id="1d"
        ),
        pytest.param({"deconv.weight": (16, 8, 3, 3)}, {"deconv": "ConvTranspose2d"}, id="by its name"),
        pytest.param({"list.0": (3,), "list.1": (4, 5)}, {"list": "ParameterList"}, id="numbers"),
        pytest.param({"list.0": (3,), "list.2": (4, 5)}, {"list": None}, id="numbers that are lacking"),
        pytest.param({"cls_token": (1, 1, 8)}, {"": None}, id="a parameter of one's own"),
        pytest.param(
            {"conv.weight": (8, 4, 3, 3), "conv.bias": (8,), "conv.gain": (8, 1, 1, 1)},
            {"conv": None},
            id="a convolution with more than torch's",
        ),
    ],
)
def test_layers_by_names_and_neighbours(shapes: dict[str, Shape], expected: dict[str, str | None]) -> None:
    assert layers(shapes) == expected


def test_the_order_of_the_file_does_not_matter_to_named_modules() -> None:
    shapes: dict[str, Shape] = {
        "stem.conv.weight": (8, 3, 3, 3),
        **batch_norm("stem.bn", 8),
        **dense("head.fc", 8, 4),
        **batch_norm("head.bn", 4),
    }
    assert layers(shapes) == layers(dict(sorted(shapes.items())))
    assert layers(shapes)["head.bn"] == "BatchNorm1d"


def test_depthwise_convolutions_are_grouped_and_the_first_is_not() -> None:
    found = told({"stem.weight": (6, 1, 5, 5), "depth.weight": (6, 1, 3, 3), "point.weight": (9, 6, 1, 1)})
    assert [described(guess) for guess in found.values()] == [
        "Conv2d 1→6 5×5",
        "Conv2d 6→6 3×3 groups 6",
        "Conv2d 6→9 1×1",
    ]
    assert all("groups" in guess.unknown for guess in found.values())


def test_versions_tell_norms_with_statistics_from_others() -> None:
    assert told(vectors("a", 4), {"a": 2})["a"].layer == "BatchNorm2d"
    assert "BatchNorm1d" not in told(vectors("a", 4), {"a": 1})["a"].alternatives
    assert told(vectors("a", 4))["a"].layer == "LayerNorm"


@pytest.mark.parametrize(
    "shapes",
    [
        pytest.param({"weight": (5, 3), "bias": (3,)}, id="my_linear: x @ W"),
        pytest.param({"weight": (4, 5, 5)}, id="reduction: y_k = W_kij x_i x_j"),
        pytest.param({"experts.weight": (8, 128, 256)}, id="experts"),
        pytest.param({"0.weight": (4, 5, 5)}, id="reduction in a list"),
        pytest.param({"w.weight": (7,)}, id="a vector without a name that means anything"),
    ],
)
def test_what_could_be_ones_own_is_a_guess_at_most(shapes: dict[str, Shape]) -> None:
    (guess,) = told(shapes).values()
    assert guess.confidence in (None, "guess") or guess.layer == "RMSNorm"


@pytest.mark.parametrize(
    "shapes",
    [
        {"": (3, 4)},
        {".": (3, 4)},
        {"..weight": (3, 4)},
        {"weight.": (3, 4)},
        {"a" * 100_000 + ".weight": (3, 4)},
        {".".join(["a"] * 30_000) + ".weight": (3, 4)},
        {f"{'.'.join(['a'] * depth)}.weight": (3, 4) for depth in range(1, 300)},
        {"\ud800.weight": (3, 4), "\x1b[2J.bias": (4,)},
        {"a.weight": (2**62, 2**62), "b.weight": (2**70, 4), "c.weight": (-3, 4)},
        {"a.weight": (0, 4), "b.weight": (4, 0), "c.weight": (0,), "d.weight": (0, 0, 0), "e.bias": (0,)},
        {"a.weight": (), "b.bias": (), "c.running_mean": ()},
        {"a.weight": (1,) * 64},
        {"a.weight": None, "a.bias": (4,), "b.running_mean": None, "c.gain": None},
        {"a.in_proj_weight": (12, 4), "a.out_proj.weight": None},
        {"a.in_proj_weight": None, "a.q_proj_weight": (4, 4), "a.out_proj.weight": (4, 4)},
        {"a.in_proj_weight": (12, 4), "a.in_proj_bias": (12,), "a.out_proj.weight": (4, 4)},
        {"tail.weight": (3, 4), "head.weight": (3, 4)},
        {"head.weight": (3, 4), "tail.0.0.weight": (0, 4), "tail.0.1.weight": (3, 0)},
        {"layers.0.self_attn.weight": (3, 4), "layers.weight": (3, 4)},
        {"a.weight_ih_l0": (0, 4), "a.weight_hh_l0": (0, 0)},
        {"a.weight_ih_l0": (4, 4), "a.weight_hh_l0": (4, 4), "a.weight_ih_l9999": (4, 4)},
        {"a.weight_ih_l0": (4, 4), "a.weight_hh_l0": (4, 4), "a.weight_ih_l٣": (4, 4)},
        {"a.weight_ih": (3, 3), "a.weight_hh": (0, 0)},
        {"parametrizations.weight.original": (3, 4), "weight": (3, 4)},
        {"parametrizations.original0": (3, 4), "a.parametrizations": (3,), "a.parametrizations.b": (3,)},
        {"a.weight_orig": (3, 4), "a.weight": (3, 4), "a.weight_u": (3,), "a.weight_v": (4,)},
        {"a.0": (3,), "a.٣": (3,)},
        {f"{number}": (number,) for number in range(3000)},
    ],
    ids=range(28),
)
def test_hostile_names_and_shapes_are_no_trouble(shapes: dict[str, Shape]) -> None:
    found = told(shapes)
    assert all(guess.confidence != "certain" for guess in found.values())
    for guess in found.values():
        assert isinstance(described(guess), str)


_NAMES = (
    "weight bias 0 running_mean running_var num_batches_tracked weight_g weight_v weight_u weight_orig "
    "weight_mask in_proj_weight q_proj_weight weight_ih_l0 weight_hh_l0 weight_ih weight_hh pos_weight"
)
_name = st.sampled_from(_NAMES.split())
_part = st.sampled_from(
    ["a", "0", "1", "parametrizations", "out_proj", "self_attn", "layers", "encoder", "tail"]
)
_key = st.builds(lambda above, name: ".".join([*above, name]), st.lists(_part, max_size=5), _name)
_shape = st.none() | st.lists(st.integers(0, 12), max_size=6).map(tuple)


@given(st.dictionaries(_key | st.text(max_size=9), _shape, max_size=12))
def test_any_names_and_shapes_are_judged_the_same_twice(shapes: dict[str, Shape]) -> None:
    found = told(shapes)
    assert found == told(shapes)
    for guess in found.values():
        assert (guess.layer is None) == (guess.confidence is None)
        assert guess.layer not in guess.alternatives
        assert len(set(guess.alternatives)) == len(guess.alternatives)
        described(guess)


@pytest.mark.parametrize("dtype", ["int8", "uint8", "qint8", "bool", "int64"])
def test_packed_numbers_are_no_layer(dtype: str) -> None:
    (guess,) = guesses(tensors({"fc.weight": (3, 4)}, dtype), {}).values()
    assert guess.layer is None
    (guess,) = guesses(tensors({"fc.weight": (3, 4)}, "bfloat16"), {}).values()
    assert guess.layer == "Linear"


def test_every_module_that_owns_tensors_has_a_guess() -> None:
    found = told({"a.b.weight": (3, 4), "a.scale": (1,), "token": (1, 2)})
    assert {path: guess.path for path, guess in found.items()} == {"a.b": "a.b", "a": "a", "": ""}


def test_like_blocks_are_judged_alike() -> None:
    shapes: dict[str, Shape] = {}
    for number in range(30):
        shapes |= dense(f"h.{number}.attn.q", 8, 8) | vectors(f"h.{number}.ln", 8)
    found = told(shapes)
    assert len({id(guess.arguments) for path, guess in found.items() if path.endswith("ln")}) == 1
    assert dict(everything(found)) == {
        path: "LayerNorm" if path.endswith("ln") else "Linear" for path in found
    }


@pytest.mark.parametrize("flat", [True, False])
def test_work_grows_with_the_number_of_tensors_and_not_faster(flat: bool) -> None:
    def steps(count: int) -> int:
        shapes: dict[str, Shape] = {}
        for number in range(count):
            # Every module differs from every other, so that nothing is found out only once.
            above = f"m{number}" if flat else f"m.{number}.inner"
            shapes |= {f"{above}.weight": (number + 1, 8, 3, 3), f"{above}_n.weight": (number + 1,)}
            shapes |= vectors(f"{above}_a", number + 1)
        rows, taken = tensors(shapes), 0

        def step(frame: FrameType, event: str, argument: object) -> None:
            nonlocal taken
            taken += 1

        sys.setprofile(step)
        try:
            guesses(rows, {})
        finally:
            sys.setprofile(None)
        return taken

    steps(10)
    assert steps(400) < 5 * steps(100)


@pytest.mark.parametrize(
    ("shapes", "words"),
    [
        (dense("a", 20, 256), "Linear 20→256"),
        ({"a.weight": (64, 3, 7, 7), "a.bias": (64,)}, "Conv2d 3→64 7×7"),
        ({"a.weight": (64, 3, 7)}, "Conv1d 3→64 7"),
        (batch_norm("a", 64), "BatchNorm2d 64"),
        ({"embed.weight": (50257, 768)}, "Embedding 50257×768"),
        (vectors("a", 8), "LayerNorm 8"),
        ({"a.weight": (2, 3), "a.bias": (2, 3)}, "LayerNorm 2×3"),
        ({"a.weight": (7, 5, 6), "a.bias": (7,), "bilinear.weight": (3, 4, 5)}, "Conv1d 5→7 6"),
        ({"a.weight": (8, 12), "a.bias": (12,)}, "Conv1D 8→12"),
        ({"a.weight": None, "a.bias": None}, "LazyLinear"),
        ({"a.gain": (3,)}, ""),
        ({"a.weight_g": (4, 1), "a.weight_v": (4, 3)}, "Linear 3→4 with weight_norm"),
    ],
)
def test_a_guess_in_words(shapes: dict[str, Shape], words: str) -> None:
    assert described(next(iter(told(shapes).values()))) == words


def test_recurrent_layers_in_words() -> None:
    shapes: dict[str, Shape] = {}
    for layer, inner in ((0, 10), (1, 40)):
        for end in ("", "_reverse"):
            shapes |= {
                f"lstm.weight_ih_l{layer}{end}": (80, inner),
                f"lstm.weight_hh_l{layer}{end}": (80, 20),
                f"lstm.bias_ih_l{layer}{end}": (80,),
                f"lstm.bias_hh_l{layer}{end}": (80,),
            }
    assert described(told(shapes)["lstm"]) == "LSTM 10→20 ×2 bidirectional"


def test_every_layer_says_what_it_is_known_by() -> None:
    for layer in LAYERS:
        assert layer.needs, layer.name
        assert layer.name.isidentifier()
        assert len(set(layer.unknown)) == len(layer.unknown)
