"""The pure parts: inputs as text, leaves, numbers, tolerances, and inputs that are found."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest

torch = pytest.importorskip("torch", reason="compares tensors")
nn = torch.nn

from ckptaudit.verify.cases import Spec, make, parse  # noqa: E402
from ckptaudit.verify.derive import derived  # noqa: E402
from ckptaudit.verify.leaves import NotComparableError, leaves  # noqa: E402
from ckptaudit.verify.loading import align  # noqa: E402
from ckptaudit.verify.numbers import apart, coarsest, relative, tolerance  # noqa: E402
from ckptaudit.verify.run import CannotRunError  # noqa: E402


@pytest.mark.parametrize(
    ("text", "spec"),
    [
        ("2x20:float32", Spec("", (2, 20), "float32")),
        ("7", Spec("", (7,), "float32")),
        ("ids=1x7:int64<50", Spec("ids", (1, 7), "int64", 50)),
        ("0x3:bfloat16", Spec("", (0, 3), "bfloat16")),
        ("use_cache=false", Spec("use_cache", (), "", None, False)),
        ("mask=None", Spec("mask", (), "", None, None)),
    ],
)
def test_inputs_as_text(text: str, spec: Spec) -> None:
    assert parse(text) == spec


@pytest.mark.parametrize("text", ["", "x", "2x", "2x-1", "2x3:float32<", "a b=2", "=2x3", "2x3 float32"])
def test_what_is_no_input(text: str) -> None:
    with pytest.raises(ValueError, match="is no input"):
        parse(text)


def test_inputs_are_the_same_for_a_seed() -> None:
    specs = [parse("2x3:float16"), parse("ids=4:int64<5"), parse("c=2:complex64"), parse("b=9:bool")]
    one, again, other = make(specs, 1), make(specs, 1), make(specs, 2)
    assert torch.equal(one.args[0], again.args[0])
    assert not torch.equal(one.args[0], other.args[0])
    assert one.kwargs["ids"].max() < 5
    assert one.kwargs["c"].is_complex()
    with pytest.raises(ValueError, match="no dtype"):
        make([Spec("", (2,), "float33")], 1)


def test_leaves_are_told_by_bits() -> None:
    def facts(thing: Any) -> Any:
        return [leaf.facts for leaf in leaves(thing)]

    zero = torch.zeros(2)
    assert facts(zero) != facts(-zero)
    assert facts(zero) != facts(zero.double())
    assert facts(zero) != facts(zero.reshape(2, 1))
    assert facts(torch.arange(6).reshape(2, 3).T) == facts(torch.tensor([[0, 3], [1, 4], [2, 5]]))
    assert facts(torch.tensor([1 + 2j]).conj()) == facts(torch.tensor([1 - 2j]))
    assert facts(1) != facts(True)
    assert facts(1) != facts(1.0)
    assert [leaf.name for leaf in leaves({"a": {"b": 1}, "a.b": 2, "c": [None, (3,)]})] == [
        *("a.b", "a.b'", "c.0", "c.1.0")
    ]
    with pytest.raises(NotComparableError):
        leaves(object())
    deep: list[Any] = []
    deep.append(deep)
    with pytest.raises(NotComparableError):
        leaves(deep)


def leaf(values: Any, dtype: Any = torch.float32) -> Any:
    return leaves(torch.tensor(values, dtype=dtype))[0]


@pytest.mark.parametrize(
    ("one", "other", "agree", "reason"),
    [
        ([1.0, 2.0], [1.0, 2.0], True, ""),
        ([1.0, 2.0], [1.0, 2.0001], True, ""),
        ([1.0, 2.0], [1.0, 2.1], False, ""),
        ([0.0, 2.0], [0.0001, 2.0], True, ""),
        ([math.nan, 2.0], [math.nan, 2.0001], True, ""),
        ([math.nan, 2.0], [1.0, 2.0], False, "NaN in other places"),
        ([math.inf, 2.0], [math.inf, 2.0], True, ""),
        ([math.inf, 2.0], [-math.inf, 2.0], False, "infinities differ"),
        ([math.inf, 2.0], [3e38, 2.0], False, "infinities differ"),
        ([0.0, 0.0], [0.0, 1e-30], False, ""),
    ],
)
def test_numbers(one: list[float], other: list[float], agree: bool, reason: str) -> None:
    found = apart(leaf(one), leaf(other), 1e-3)
    assert (found.agree, found.reason) == (agree, reason)


def test_numbers_that_are_exact() -> None:
    assert not apart(leaf([1, 2], torch.int64), leaf([1, 3], torch.int64), 10.0).agree
    assert not apart(leaf([True], torch.bool), leaf([False], torch.bool), 10.0).agree
    assert apart(leaf([1.0], torch.float16), leaf([1.0]), 0.0).agree
    assert not apart(leaf([1], torch.int64), leaf([1.0]), 10.0).agree
    assert apart(leaf([1.0, 2.0]), leaf([1.0]), 10.0).reason == "shape [2] against [1]"
    assert apart(leaves(3)[0], leaves(4)[0], 10.0).reason == "3 against 4"
    assert relative(leaves((1, 2)), leaves(1)) == math.inf


def test_tolerance() -> None:
    assert coarsest(["float32", "int64", "bfloat16"]) == "bfloat16"
    assert coarsest(["int64"]) == ""
    assert tolerance("int64", 1.0) == 0.0
    assert tolerance("float32", 0.0) == pytest.approx(16 * 2**-23)
    assert tolerance("float32", 1e-4) == pytest.approx(8e-4)


@pytest.mark.parametrize(
    ("make_model", "shapes"),
    [
        (lambda: nn.Linear(5, 2), [(1, 5), (3, 5), (3, 5)]),
        (lambda: nn.Embedding(9, 2), [(1, 7), (3, 7), (3, 7)]),
        (lambda: nn.Sequential(nn.Conv2d(3, 2, 7), nn.MaxPool2d(8)), [(1, 3, 17, 17), (3, 3, 17, 17)]),
        (lambda: nn.Sequential(nn.Conv2d(1, 2, 3), nn.Flatten(), nn.Linear(7938, 2)), [(1, 1, 65, 65)]),
        (lambda: nn.Conv1d(2, 2, 5), [(1, 2, 17)]),
        (lambda: nn.Conv3d(1, 2, 3), [(1, 1, 9, 9, 9)]),
        (lambda: nn.Sequential(nn.BatchNorm1d(4), nn.Linear(4, 2)).eval(), [(1, 4), (3, 4)]),
        (lambda: nn.LSTM(3, 4), [(1, 7, 3)]),
        (lambda: nn.Transformer(8, 2, 1, 1, 8, batch_first=True).eval(), [(1, 7, 8)]),
        (lambda: nn.Linear(5, 2).half(), [(1, 5)]),
    ],
)
def test_inputs_that_are_found(make_model: Callable[[], Any], shapes: list[tuple[int, ...]]) -> None:
    model = make_model()
    cases = derived(model, "cpu", 0, 60)
    found = [tuple(case.args[0].shape) for case in cases]
    assert found[: len(shapes)] == shapes
    dtype = next(model.parameters()).dtype
    assert not cases[0].args[0].is_floating_point() or cases[0].args[0].dtype == dtype


def test_inputs_that_are_not_found() -> None:
    class Wants(nn.Module):
        def forward(self, x: Any) -> Any:
            raise TypeError("wants something else")

    with pytest.raises(CannotRunError, match=r"give --input \(the likeliest gave TypeError: wants"):
        derived(Wants(), "cpu", 0, 5)


def test_odd_addresses_are_left_and_ties_kept() -> None:
    net = nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 3))
    memory = torch.arange(40, dtype=torch.uint8).untyped_storage()
    view = torch.empty(0).set_(torch.arange(30.0).untyped_storage(), 0, (3, 3), (3, 1))
    raw = torch.zeros(100, dtype=torch.uint8)[4:40].clone()
    assert memory is not None
    shifted = torch.zeros(30)[1:10].reshape(3, 3)
    net[0].weight = nn.Parameter(shifted)
    net[1].weight = net[0].weight
    net[1].bias.data = view[0]
    values = {key: value.clone() for key, value in net.state_dict().items()}
    align(net)
    assert net[0].weight is net[1].weight
    assert all(torch.equal(value, values[key]) for key, value in net.state_dict().items())
    assert all(each.untyped_storage().data_ptr() % 64 == 0 for each in net.parameters())
    assert raw.numel() == 36
