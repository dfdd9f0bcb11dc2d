from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ckptaudit.errors import CkptAuditError
from ckptaudit.rebuild import rebuild

torch = pytest.importorskip("torch", reason="loads into modules")
nn = torch.nn

from tests.oracle import FIXTURES  # noqa: E402


class Net(nn.Module):
    """Everything that looks at a parameter in a second way."""

    def __init__(self) -> None:
        super().__init__()
        self.hidden = nn.Linear(20, 256)
        self.output = nn.Linear(256, 10)
        self.listed = [self.hidden.weight]
        self.view = self.output.weight.detach()[0]
        self.register_buffer("scale", torch.ones(1), persistent=False)

    def forward(self, x: Any) -> Any:
        return torch.nn.functional.linear(torch.relu(self.hidden(x)), self.output.weight, self.output.bias)


def saved(model: Any, path: Path) -> str:
    torch.save(model.state_dict(), path)
    return str(path)


def test_every_view_of_a_parameter_sees_the_file() -> None:
    for name in ("mlp.params", "mlp.safetensors"):
        state = rebuild(str(FIXTURES / name), model=Net).module.state_dict()
        net = Net()
        parameters = {key: id(value) for key, value in net.named_parameters()}
        found = rebuild(str(FIXTURES / name), model=net)
        assert found.module is net
        assert {key: id(value) for key, value in net.named_parameters()} == parameters
        assert net.listed[0] is net.hidden.weight
        assert torch.equal(net.view, net.output.weight[0])
        theirs = torch.load(FIXTURES / "mlp.params")
        assert all(torch.equal(net.state_dict()[key], theirs[key]) for key in theirs)
        assert all(torch.equal(state[key], theirs[key]) for key in theirs)
        assert found.is_whole
        assert found.level == "identified"
        assert found.loaded["from_file"] == (4, 31784)
        assert found.non_persistent == ("scale",)


def test_keys_that_do_not_fit() -> None:
    path = str(FIXTURES / "mlp_out.pt")
    found = rebuild(path, model=Net)
    assert found.missing == ("output.weight", "output.bias")
    assert found.unexpected == ("out.weight", "out.bias")
    assert found.suggested == ("out=output (likely)",)
    assert found.renamed == {}
    assert found.loaded["from_init"].tensors == 2
    assert not found.is_whole
    found = rebuild(path, model=Net, maps=["out=output"])
    assert found.is_whole
    assert found.renamed == {"out.weight": "output.weight", "out.bias": "output.bias"}
    with pytest.raises(CkptAuditError, match="is not OLD=NEW"):
        rebuild(path, model=Net, maps=["out"])


def tied() -> Any:
    net = nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 3))
    net[1].weight = net[0].weight
    return net


def untied() -> Any:
    return nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 3))


@pytest.mark.parametrize("device", ["cpu", "meta"])
def test_a_diverged_tie_ends_as_in_torch(tmp_path: Path, device: str) -> None:
    path = saved(untied(), tmp_path / "a.pt")
    theirs = tied()
    theirs.load_state_dict(torch.load(path))
    with torch.device(device):
        net = tied()
    found = rebuild(path, model=net)
    assert net[0].weight is net[1].weight
    assert torch.equal(net[0].weight, theirs[0].weight)
    assert found.problems == (
        "the model ties 0.weight and 1.weight, and the file holds different memory for them: "
        "the last one counts",
    )


def test_a_tie_that_the_file_keeps_once(tmp_path: Path) -> None:
    state = {key: value for key, value in tied().state_dict().items() if key != "1.weight"}
    torch.save(state, tmp_path / "a.pt")
    found = rebuild(str(tmp_path / "a.pt"), model=tied)
    assert found.is_whole
    assert [key for key, origin in found.origins.items() if origin.source == "from_tie"] == ["1.weight"]
    assert torch.equal(found.module[1].weight, state["0.weight"])


def test_a_dtype_is_converted_as_torch_does(tmp_path: Path) -> None:
    path = saved(untied().half(), tmp_path / "a.pt")
    found = rebuild(path, model=untied)
    assert found.module[0].weight.dtype == torch.float32
    assert {origin.source for origin in found.origins.values()} == {"computed"}


class Doubles(nn.Linear):
    """Its own way of loading."""

    def _load_from_state_dict(self, state: Any, prefix: str, *rest: Any) -> None:
        state = {key: value * 2 if key.startswith(prefix) else value for key, value in state.items()}
        super()._load_from_state_dict(state, prefix, *rest)


def test_code_that_loads_in_its_own_way_is_asked(tmp_path: Path) -> None:
    net = Doubles(3, 3)
    path = saved(net, tmp_path / "a.pt")
    found = rebuild(path, model=lambda: Doubles(3, 3))
    assert torch.equal(found.module.weight, net.weight * 2)


@pytest.mark.parametrize(
    "make",
    [
        lambda: nn.Sequential(nn.LazyLinear(256), nn.ReLU(), nn.LazyLinear(10)),
        lambda: nn.Sequential(nn.Linear(20, 256), nn.ReLU(), nn.Linear(256, 10)),
    ],
)
def test_lazy_and_sized(tmp_path: Path, make: Callable[[], Any]) -> None:
    net = nn.Sequential(nn.Linear(20, 256), nn.ReLU(), nn.Linear(256, 10))
    path = saved(net, tmp_path / "a.pt")
    x = torch.randn(2, 20)
    found = rebuild(path, model=make)
    assert found.is_whole
    assert torch.equal(found.module(x), net(x))


def test_no_module() -> None:
    with pytest.raises(CkptAuditError, match=r"the model given is a function, not an nn\.Module"):
        rebuild(str(FIXTURES / "mlp.params"), model=lambda: lambda x: x)


def test_old_weight_norm_in_the_new_one(tmp_path: Path) -> None:
    def new() -> Any:
        return nn.Sequential(nn.utils.parametrizations.weight_norm(nn.Linear(4, 3)))

    with pytest.warns(FutureWarning):
        old = nn.Sequential(nn.utils.weight_norm(nn.Linear(4, 3)))
    path = saved(old, tmp_path / "a.pt")
    found = rebuild(path, model=new)
    assert found.is_whole
    assert found.loaded["computed"].tensors == 2
    x = torch.randn(3, 4)
    assert torch.equal(found.module(x), old(x))


class Scaled(nn.Linear):
    """Extra state: a number, or a tensor."""

    scale: Any = 1.0

    def get_extra_state(self) -> Any:
        return self.scale

    def set_extra_state(self, state: Any) -> None:
        self.scale = state


def test_extra_state_that_is_a_tensor_is_loaded(tmp_path: Path) -> None:
    net = Scaled(2, 2)
    net.scale = torch.tensor([3.0])
    found = rebuild(saved(net, tmp_path / "a.pt"), model=lambda: Scaled(2, 2))
    assert torch.equal(found.module.scale, net.scale)
    assert found.fits


def test_extra_state_that_is_none_is_told(tmp_path: Path) -> None:
    net = Scaled(2, 2)
    net.scale = {"amax": 3.0}
    found = rebuild(saved(net, tmp_path / "a.pt"), model=lambda: Scaled(2, 2))
    assert found.unloaded == {"_extra_state": "is no tensor, and is not read as what it is"}
    assert not found.fits


class Turned(nn.Linear):
    """Takes a transposed weight."""

    def _load_from_state_dict(self, state: Any, prefix: str, *rest: Any) -> None:
        weight = state.get(f"{prefix}weight")
        if weight is not None and weight.shape != self.weight.shape:
            state = {**state, f"{prefix}weight": weight.T}
        super()._load_from_state_dict(state, prefix, *rest)


def test_own_code_is_given_what_does_not_fit_yet(tmp_path: Path) -> None:
    net = nn.Linear(3, 2)
    state = {"weight": net.weight.detach().T.contiguous(), "bias": net.bias.detach()}
    torch.save(state, tmp_path / "a.pt")
    found = rebuild(str(tmp_path / "a.pt"), model=lambda: Turned(3, 2))
    assert found.fits
    assert torch.equal(found.module.weight, net.weight)
    assert rebuild(str(tmp_path / "a.pt"), model=lambda: Doubles(3, 2)).mismatched == ("weight",)


class Fails(nn.Linear):
    """Code that breaks."""

    def _load_from_state_dict(self, *args: Any) -> None:
        raise KeyError("b")


def test_own_code_that_fails_is_one_error(tmp_path: Path) -> None:
    with pytest.raises(CkptAuditError, match="its own loading code fails: KeyError"):
        rebuild(saved(nn.Linear(3, 3), tmp_path / "a.pt"), model=lambda: Fails(3, 3))
