"""The first divergence, where no leaf is to blame, or one that is called more than once."""

from __future__ import annotations

import copy
from typing import Any

import pytest

torch = pytest.importorskip("torch", reason="runs models")

from torch import Tensor, nn  # noqa: E402

from ckptaudit.verify import compare_models  # noqa: E402
from tests.verify import zoo  # noqa: E402


class Steps(nn.Module):
    """Two layers and what `between` does between them."""

    between: Any = staticmethod(torch.tanh)

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(5, 5)
        self.second = nn.Linear(5, 5)

    def forward(self, x: Tensor) -> Tensor:
        return self.second(self.between(self.first(x)))


class OtherStep(Steps):
    between = staticmethod(torch.sin)


class OtherEnd(Steps):
    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x) + 1e-3


class OtherOrder(Steps):
    def forward(self, x: Tensor) -> Tensor:
        return self.first(self.between(self.second(x)))


class Noisy(Steps):
    def forward(self, x: Tensor) -> Tensor:
        return self.second(torch.rand_like(x) + self.first(x))


def like(kind: Any, model: nn.Module) -> Any:
    made = kind()
    made.load_state_dict(model.state_dict())
    kind.__qualname__ = type(model).__qualname__  # so that the class is no answer
    kind.__module__ = type(model).__module__
    return made


@pytest.mark.parametrize(
    ("kind", "cause"),
    [
        (OtherStep, "a functional step between two modules (before second)"),
        (OtherEnd, "weights equal, configuration differs: forward has other code"),
        (OtherOrder, "weights equal, configuration differs: forward has other code"),
    ],
)
def test_steps_between_modules(kind: Any, cause: str) -> None:
    torch.manual_seed(0)
    model = Steps()
    found = compare_models(like(kind, model), model)
    assert found.verdict == "different"
    assert found.first_divergence is not None
    assert (found.first_divergence.module, found.first_divergence.cause) == ("", cause)


def test_randomness_is_found() -> None:
    found = compare_models(Noisy(), Noisy())
    assert found.first_divergence is not None
    assert (found.verdict, found.first_divergence.cause) == ("stochastic", "randomness")


def test_the_second_call_of_a_layer() -> None:
    """The layer gives the same at first: its hook changes what comes out the second time."""
    one, other = zoo.build("residual"), zoo.build("residual")

    def second(module: Any, args: Any, output: Tensor) -> Tensor:
        module.calls = 1 - getattr(module, "calls", 0)
        return output if module.calls else output + 1

    other.twice.register_forward_hook(second)
    found = compare_models(other, one)
    assert found.verdict == "different"
    assert found.first_divergence is not None
    assert (found.first_divergence.call, found.first_divergence.module) == (2, "twice")


def test_swapped_layers_say_so() -> None:
    model = zoo.build("residual")
    other = copy.deepcopy(model)
    other.first, other.twice = other.twice, other.first
    found = compare_models(other, model)
    assert found.first_divergence is not None
    assert found.first_divergence.cause == (
        "weights differ: first.weight, first.bias (here it has the values of twice.weight)"
    )


def test_equal_models_under_other_names() -> None:
    torch.manual_seed(0)
    one = nn.Sequential(nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 2))
    other = nn.Sequential()
    for name, module in zip(("in", "act", "out"), copy.deepcopy(one), strict=True):
        other.add_module(name, module)
    assert compare_models(one, other).equal
    with torch.no_grad():
        other.get_submodule("out").bias += 1
    assert compare_models(one, other).verdict == "different"


def test_weights_in_another_shape_are_not_called_equal() -> None:
    """Outputs agree, and nothing tells that the weights do."""

    class Fused(nn.Module):
        def __init__(self, fused: bool) -> None:
            super().__init__()
            self.parts = nn.ModuleList([nn.Linear(4, 2), nn.Linear(4, 2)]) if not fused else None
            self.both = nn.Linear(4, 4) if fused else None

        def forward(self, x: Tensor) -> Tensor:
            if self.both is not None:
                return self.both(x).round()
            return torch.cat([part(x) for part in self.parts], -1).round()

    torch.manual_seed(0)
    split, fused = Fused(False), Fused(True)
    with torch.no_grad():
        fused.both.weight.copy_(torch.cat([part.weight for part in split.parts]))
        fused.both.bias.copy_(torch.cat([part.bias for part in split.parts]))
    found = compare_models(fused, split)
    assert found.verdict == "incomplete"
    assert "no counterpart" in found.reason


def test_the_culprit_among_weights_of_another_dtype() -> None:
    """In half precision every weight differs in its bits; one of them by more than rounding."""
    for key in ("twice.bias", "first.weight", "norm.weight"):
        model = zoo.build("residual")
        half = copy.deepcopy(model).half()
        with torch.no_grad():
            half.state_dict(keep_vars=True)[key].view(-1)[2] += 3
        found = compare_models(half, model)
        assert found.verdict == "different"
        assert found.first_divergence is not None
        assert found.first_divergence.module == key.rpartition(".")[0]
