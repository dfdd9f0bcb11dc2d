"""Ways in which "equal" could be said and be false: each of them with the verdict that it gets."""

from __future__ import annotations

import copy
import os
import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import pytest

torch = pytest.importorskip("torch", reason="runs models")

from torch import Tensor, nn  # noqa: E402
from torch.nn import functional  # noqa: E402

from ckptaudit.verify import compare_models  # noqa: E402


class Net(nn.Module):
    """A Linear 4-4 beside a forward that is given."""

    def __init__(self, run: Callable[[Any, Tensor], Any], **modules: nn.Module) -> None:
        super().__init__()
        self.lin = nn.Linear(4, 4)
        self.register_buffer("average", torch.ones(()))
        self.kept = torch.zeros(1)
        self.run = run
        for name, module in modules.items():
            setattr(self, name, module)

    def forward(self, x: Tensor) -> Any:
        return self.run(self, x)


class AllEqual(Tensor):
    """A subclass whose instances equal everything."""

    def __eq__(self, other: object) -> Any:
        return True

    def __ne__(self, other: object) -> Any:
        return False

    __hash__ = Tensor.__hash__


class KeepsTraining(nn.BatchNorm1d):
    def train(self, mode: bool = True) -> KeepsTraining:
        super().train(True)
        return self


class KeepsDropping(nn.Dropout):
    def train(self, mode: bool = True) -> KeepsDropping:
        super().train(True)
        return self


@dataclass
class Answer:
    scores: Tensor
    note: str | None


class Pair(NamedTuple):
    left: Tensor
    right: Tensor


def counts(net: Any, x: Tensor) -> Tensor:
    net.calls = getattr(net, "calls", 0) + 1
    return net.lin(x) + (net.calls > 7)


def changes_weight(net: Any, x: Tensor) -> Tensor:
    net.lin.weight.data.mul_(1.01)
    return net.lin(x)


def replaces_buffer(net: Any, x: Tensor) -> Tensor:
    net.average = net.average * 0.9 + x.mean()
    return net.lin(x)


def caches(net: Any, x: Tensor) -> Tensor:
    net.last = net.kept = x * 2
    return net.lin(net.last)


def raises(net: Any, x: Tensor) -> Tensor:
    raise RuntimeError("no forward\nfor you")


ALONE: dict[str, tuple[Callable[[Any, Tensor], Any], str, str]] = {
    "counts its calls": (counts, "nondeterministic", "two runs differ"),
    "changes its weights": (changes_weight, "nondeterministic", "two runs differ"),
    "replaces a buffer": (replaces_buffer, "nondeterministic", "running the model changes it: average"),
    "looks at the clock": (lambda net, x: net.lin(x) + time.time() % 1, "nondeterministic", "differ"),
    "asks the system": (lambda net, x: net.lin(x) + os.urandom(1)[0], "nondeterministic", "two runs differ"),
    "drops out": (lambda net, x: functional.dropout(net.lin(x), 0.5), "stochastic", "seed"),
    "draws in Python": (lambda net, x: net.lin(x) * random.random(), "stochastic", "seed"),
    "draws and does not use it": (
        lambda net, x: (torch.rand(3), net.lin(x))[1], "stochastic", "draws random numbers",
    ),
    "seldom draws something": (lambda net, x: net.lin(x) + (torch.rand(()) < 0.3), "stochastic", "seed"),
    "gives its own parameter": (lambda net, x: net.lin.weight, "incomplete", "do not depend on the inputs"),
    "gives a constant": (lambda net, x: net.lin(x) * 0 + 3, "incomplete", "do not depend on the inputs"),
    "dies in a ReLU": (lambda net, x: torch.relu(net.lin(x) - 1e6), "incomplete", "do not depend on the"),
    "reads no weight": (lambda net, x: x * 2, "incomplete", "no tensor of the model was seen to be read"),
    "gives NaN only": (lambda net, x: net.lin(x) * x.sum() / 0 - torch.inf, "incomplete", ""),
    "gives nothing": (lambda net, x: net.lin(x)[:0], "incomplete", "all outputs are empty"),
    "gives None": (lambda net, x: None, "incomplete", "no output is a tensor"),
    "gives a text": (lambda net, x: "text", "incomplete", "no output is a tensor"),
    "gives an object": (lambda net, x: net, "incomplete", "cannot be compared"),
    "raises": (raises, "incomplete", "RuntimeError: no forward"),
}  # fmt: skip


@pytest.mark.parametrize("name", ALONE)
def test_never_equal_to_its_own_copy(name: str) -> None:
    run, verdict, reason = ALONE[name]
    torch.manual_seed(0)
    net = Net(run)
    found = compare_models(net, copy.deepcopy(net), [torch.randn(3, 4), torch.randn(3, 4)])
    assert found.verdict == verdict
    assert reason in found.reason
    with pytest.raises(TypeError):
        bool(found)


STEADY: dict[str, Callable[[Any, Tensor], Any]] = {
    "writes into its input": lambda net, x: net.lin(x.mul_(2)),
    "keeps something": caches,
    "works in place": lambda net, x: torch.relu_(net.lin(x)),
    "gives a subclass": lambda net, x: net.lin(x).as_subclass(AllEqual),
    "gives a view of its input": lambda net, x: (net.lin(x), x.T),
    "gives nested containers": lambda net, x: {"a": [net.lin(x), {"b": (None, 3, True)}], "c": Pair(x, x)},
    "gives a dataclass": lambda net, x: Answer(net.lin(x), None),
    "gives complex numbers": lambda net, x: torch.fft.fft(net.lin(x)),
    "gives some NaN": lambda net, x: net.lin(x).log(),
    "gives integers too": lambda net, x: (net.lin(x), net.lin(x).argmax(-1), net.lin(x) > 0),
    "gives something empty too": lambda net, x: (net.lin(x), x[:0]),
    "gives a sparse tensor": lambda net, x: net.lin(x).relu().to_sparse(),
    "wants gradients": lambda net, x: torch.autograd.grad((net.lin(x.requires_grad_()) ** 2).sum(), x)[0],
    "gives half of it": lambda net, x: net.lin(x).half(),
}


@pytest.mark.parametrize("name", STEADY)
def test_equal_to_its_own_copy_and_to_no_other(name: str) -> None:
    torch.manual_seed(0)
    net = Net(STEADY[name])
    inputs = [torch.randn(3, 4), torch.randn(3, 4)]
    kept = [each.clone() for each in inputs]
    other = copy.deepcopy(net)
    found = compare_models(net, other, inputs)
    assert (found.verdict, found.reason) == ("equal", "")
    assert all(torch.equal(left, right) for left, right in zip(inputs, kept, strict=True))
    other.lin.weight.data[1, 2] += 0.5
    found = compare_models(net, other, inputs)
    assert found.verdict == "different"
    assert found.first_divergence is not None
    assert found.first_divergence.keys == ("lin.weight",)


def pair(make: Callable[[], Any], change: Callable[[Any], object]) -> tuple[Any, Any]:
    torch.manual_seed(0)
    one = make()
    other = copy.deepcopy(one)
    change(other)
    return one, other


def expert(net: Any, x: Tensor) -> Tensor:
    return net.lin(x) if x.sum() < 1e9 else net.other(x)


def add(tensor: Tensor, index: Any, value: float) -> None:
    with torch.no_grad():
        tensor[index] += value


def normed() -> Any:
    return nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4), nn.Dropout(0.5))


TWO: dict[str, tuple[Callable[[], Any], Callable[[Any], object], str]] = {
    "an expert that no input reaches": (
        lambda: Net(expert, other=nn.Linear(4, 4)),
        lambda net: add(net.other.weight, (0, 0), 1), "incomplete",
    ),
    "a row of an embedding that no input reaches": (
        lambda: nn.Embedding(500, 3), lambda net: add(net.weight, (377, 0), 1), "different",
    ),
    "minus zero": (
        lambda: Net(lambda net, x: net.lin(x)).apply(_zero),
        lambda net: net.lin.weight.data[0, 0].neg_(), "different",
    ),
    "a slope that no input reaches": (
        lambda: nn.Sequential(nn.Linear(4, 4), nn.Sigmoid(), nn.LeakyReLU(0.1)),
        lambda net: setattr(net[2], "negative_slope", 0.3), "incomplete",
    ),
    "a hook": (normed, lambda net: net[0].register_forward_hook(lambda *told: told[2] * 2), "different"),
    "a hook that looks on": (
        normed, lambda net: net[0].register_forward_hook(lambda *told: None), "incomplete",
    ),
    "a counter of batches": (normed, lambda net: net[1].num_batches_tracked.add_(1), "equal"),
    "the share that is dropped": (normed, lambda net: setattr(net[2], "p", 0.1), "equal"),
    "train mode": (normed, lambda net: net.eval(), "equal"),
    "another dtype": (normed, lambda net: net.double(), "close (float32)"),
    "half": (normed, lambda net: net.half(), "close (float16)"),
}  # fmt: skip


def _zero(module: Any) -> None:
    if isinstance(module, nn.Linear):
        module.weight.data[0, 0] = 0.0


@pytest.mark.parametrize("name", TWO)
def test_two_that_are_hard_to_tell_apart(name: str) -> None:
    make, change, verdict = TWO[name]
    one, other = pair(make, change)
    found = compare_models(one, other)
    assert found.verdict == verdict, found
    assert compare_models(other, one).verdict.split()[0] == verdict.split()[0]


@pytest.mark.parametrize("kind", [KeepsTraining, KeepsDropping])
def test_what_stays_in_train_mode_is_not_equal(kind: Any) -> None:
    net = nn.Sequential(nn.Linear(4, 4), kind(4) if kind is KeepsTraining else kind())
    kept = {key: value.clone() for key, value in net.state_dict().items()}
    found = compare_models(net, copy.deepcopy(net))
    assert found.verdict == ("nondeterministic" if kind is KeepsTraining else "stochastic")
    assert all(torch.equal(value, kept[key]) for key, value in net.state_dict().items())


@pytest.mark.parametrize(
    "make",
    [
        lambda: nn.Sequential(nn.LazyLinear(3)),
        lambda: nn.Linear(4, 3, device="meta"),
        lambda: nn.ModuleList([nn.Linear(4, 3)]),
        lambda: nn.Sequential(nn.Linear(4, 3), nn.Bilinear(2, 2, 2)),
    ],
)
def test_what_does_not_run_is_incomplete(make: Callable[[], Any]) -> None:
    found = compare_models(make(), make())
    assert (found.verdict, found.equal, found.first_divergence) == ("incomplete", False, None)
    assert found.reason


def test_inputs_of_one_value_prove_nothing() -> None:
    net = nn.Sequential(nn.Linear(4, 4), nn.LeakyReLU())
    assert compare_models(net, copy.deepcopy(net), torch.zeros(2, 4)).verdict == "incomplete"


def test_other_numbers_of_outputs() -> None:
    torch.manual_seed(0)
    one, other = Net(lambda net, x: {"a": net.lin(x)}), Net(lambda net, x: {"a": net.lin(x), "b": x})
    other.load_state_dict(one.state_dict())
    found = compare_models(one, other)
    assert (found.verdict, found.reason) == (
        "different",
        "outputs b and others are given by one of them only",
    )


def test_train_mode_is_named_where_models_are_left_as_they_are() -> None:
    one, other = pair(normed, lambda net: net.eval())
    one[2].p = 0.0  # no randomness, and statistics of the batch all the same
    other[2].p = 0.0
    one[1].track_running_stats = other[1].track_running_stats = False
    one[1].running_mean = one[1].running_var = None
    other[1].running_mean = other[1].running_var = None
    assert compare_models(one, other, torch.randn(3, 4)).equal
    one, other = pair(normed, lambda net: net.eval())
    one[0].eval()
    found = compare_models(one, other, torch.randn(3, 4), as_is=True)
    assert found.verdict in ("nondeterministic", "stochastic")


def test_nothing_stays_changed() -> None:
    holds = Net(caches)
    assert compare_models(holds, Net(caches), torch.randn(2, 4)).verdict == "different"
    assert not hasattr(holds, "last")
    net = normed()
    flags = [module.training for module in net.modules()]
    state = torch.get_rng_state(), random.getstate(), torch.get_num_threads()
    kept = {key: value.clone() for key, value in net.state_dict().items()}
    settings = torch.are_deterministic_algorithms_enabled(), torch.backends.mha.get_fastpath_enabled()
    assert compare_models(net, copy.deepcopy(net)).equal
    assert [module.training for module in net.modules()] == flags
    assert torch.equal(torch.get_rng_state(), state[0])
    assert (random.getstate(), torch.get_num_threads()) == state[1:]
    assert all(torch.equal(value, kept[key]) for key, value in net.state_dict().items())
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in net.modules())
    assert settings == (
        torch.are_deterministic_algorithms_enabled(), torch.backends.mha.get_fastpath_enabled()
    )  # fmt: skip
