"""Models as people save them whole: shared, frozen, hooked, wrapped, with code of their own in between."""

from __future__ import annotations

import copy
import io
import pickle
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch", reason="the oracle is torch itself")

from torch import Tensor, nn  # noqa: E402
from torch.nn.utils import prune, spectral_norm, weight_norm  # noqa: E402

from ckptaudit.rebuild.build import build, cannot_run  # noqa: E402
from ckptaudit.rebuild.modules import Skeleton, UnknownForwardError  # noqa: E402
from tests.rebuild.test_exact import (  # noqa: E402
    assert_same,
    assert_same_outputs,
    assert_same_tensors,
    planned,
    rebuilt,
    round_trip,
)
from tests.rebuild.zoo import x  # noqa: E402

FIXTURES = Path(__file__).parents[2] / "fixtures"


def tied() -> nn.Module:
    net = nn.Sequential(nn.Embedding(12, 8), nn.LayerNorm(8), nn.Linear(8, 12, bias=False))
    net[2].weight = net[0].weight
    return net


def shared() -> nn.Module:
    layer = nn.Linear(4, 4)
    inner = nn.Sequential(layer, nn.ReLU())
    return nn.Sequential(layer, nn.ReLU(), layer, inner, inner)


def mixed() -> nn.Module:
    net = nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4), nn.Sequential(nn.Dropout(0.9), nn.Linear(4, 2)))
    net[0].requires_grad_(False)
    net[1].eval()
    net[2][0].eval()
    net[2][1].weight.requires_grad_(False)
    return net


def halves() -> nn.Module:
    return nn.Sequential(
        nn.Linear(4, 4).half(), nn.Linear(4, 4).double(), nn.Linear(4, 2, dtype=torch.bfloat16)
    )


def shared_encoder() -> nn.Module:
    encoder = nn.TransformerEncoder(nn.TransformerEncoderLayer(8, 2, 6), 3)
    encoder.layers[2] = encoder.layers[0]
    return encoder


def resized() -> nn.Module:
    """A layer whose weight was cut, under its old configuration: torch does not mind."""
    net = nn.Sequential(nn.Linear(4, 6), nn.ReLU(), nn.Linear(6, 2))
    net[0].weight = nn.Parameter(net[0].weight[:3].clone())
    net[0].bias = nn.Parameter(net[0].bias[:3].clone())
    net[2].weight = nn.Parameter(net[2].weight[:, :3].clone())
    return net


def marked() -> nn.Module:
    """Attributes that somebody set on layers of torch."""
    net = nn.Sequential(nn.Linear(4, 4), nn.Conv2d(1, 1, 3))
    net[0]._is_initialized = True
    net[0].note = "first"
    net[1].stride = (2, 2)
    net[1].scale = torch.ones(2)
    net[1].register_buffer("mask", torch.ones(3), persistent=False)
    return net


MODELS: dict[str, tuple[Callable[[], nn.Module], Tensor | None]] = {
    "tied": (tied, torch.tensor([[1, 2, 3]])),
    "shared": (shared, x(2, 4)),
    "mixed": (mixed, x(3, 4)),
    "halves": (halves, None),
    "shared_encoder": (shared_encoder, x(5, 2, 8)),
    "resized": (resized, x(2, 4)),
    "marked": (marked, None),
    "nested": (lambda: nn.Sequential(nn.Sequential(nn.Sequential(nn.Linear(3, 3)), nn.Tanh())), x(2, 3)),
    "weight_norm": (lambda: nn.Sequential(weight_norm(nn.Conv1d(2, 3, 3), dim=1), nn.ReLU()), x(2, 2, 5)),
    "weight_norm_all": (lambda: nn.Sequential(weight_norm(nn.Linear(2, 3), dim=None)), x(2, 2)),
    "spectral_norm": (lambda: nn.Sequential(spectral_norm(nn.Linear(2, 3), n_power_iterations=2)), x(2, 2)),
    "spectral_norm_t": (lambda: nn.Sequential(spectral_norm(nn.ConvTranspose2d(2, 3, 2))), x(2, 2, 3, 3)),
    "pruned": (lambda: nn.Sequential(prune.l1_unstructured(nn.Linear(4, 3), "weight", 0.5)), x(2, 4)),
}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", MODELS)
def test_models_of_torch_come_back(name: str, tmp_path: Path) -> None:
    make, inputs = MODELS[name]
    torch.manual_seed(5)
    original = make()
    loaded, plan, module = round_trip(original, tmp_path)
    assert plan.level == "exact config"
    assert_same(loaded, module) if name != "pruned" else assert_same_tensors(loaded, module)
    if inputs is not None:
        assert cannot_run(build(plan)) == ()
        assert_same_outputs(loaded, module, (inputs,))


@pytest.mark.parametrize("form", ["legacy", "raw", "in a dict"])
def test_other_forms_of_file(form: str, tmp_path: Path) -> None:
    path = tmp_path / "model.pt"
    original = shared()
    if form == "raw":
        plain = nn.Sequential(nn.Linear(2, 2), nn.ReLU()).eval()
        path.write_bytes(pickle.dumps(plain))
        plan = planned(path)
        assert plan.level == "exact config"
        assert repr(build(plan)) == repr(plain)
        return
    saved = original if form == "legacy" else {"epoch": 3, "model": original}
    torch.save(saved, path, _use_new_zipfile_serialization=form != "legacy")
    assert_same(original, rebuilt(path)[1])


def noted(module: nn.Module, *inputs: Any) -> None:
    """A hook."""


def test_hooks_and_odd_attributes_are_listed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "project", sys.modules[__name__])
    net = nn.Sequential(nn.Linear(2, 2), nn.ReLU())
    net[0].register_forward_hook(noted)
    net[0].register_full_backward_hook(noted)
    net[1].register_forward_pre_hook(noted)
    net[1].register_state_dict_pre_hook(noted)
    net[1].helper = nn.functional.relu
    net[1].table = {"a": 1}
    net[1].parts = [torch.device("cpu")]
    _, plan, module = round_trip(net, tmp_path)
    name = f"{__name__}.noted"
    assert plan.parts["0"].hooks == (f"backward hook {name}", f"forward hook {name}")
    assert plan.parts["1"].hooks == (f"forward pre-hook {name}", f"state dict pre-hook {name}")
    assert plan.parts["1"].odd == ("helper", "table", "parts")
    assert not module[0]._forward_hooks
    assert not hasattr(module[1], "table")


class Net(nn.Module):
    """The user's own class."""

    def __init__(self) -> None:
        super().__init__()
        self.width = 3
        self.sizes = (1, 2)
        self._scale = 0.5
        self.values = [1, 2]
        self.forward_mode = "fast"
        self.activation = nn.functional.relu
        self.layer = nn.Linear(3, 3)
        self.again = self.layer
        self.constant = torch.ones(2)
        self.register_buffer("mask", torch.zeros(2), persistent=False)
        self.gain = nn.Parameter(torch.ones(1))


def test_the_users_own_class_is_a_skeleton(tmp_path: Path) -> None:
    original = nn.Sequential(Net(), nn.Linear(3, 1)).eval()
    loaded, plan, module = round_trip(original, tmp_path)
    net = module[0]
    assert plan.parts["0"].cls == f"{__name__}.Net"
    assert isinstance(net, Skeleton)
    assert not net.training
    assert (net.width, net.sizes, net._scale, net.values, net.forward_mode) == (
        3,
        (1, 2),
        0.5,
        [1, 2],
        "fast",
    )
    assert plan.parts["0"].odd == ("activation",)
    assert net.again is net.layer
    assert torch.equal(net.constant, torch.ones(2))
    assert torch.equal(net.mask, torch.zeros(2))
    assert_same_tensors(loaded, module)
    with pytest.raises(UnknownForwardError, match=r"the code of .*\.Net is not in the file; name your code"):
        module(x(1, 3))
    assert len(cannot_run(build(plan))) == 1
    assert "class" in repr(net)


def test_what_comes_back_can_be_copied_and_pickled(tmp_path: Path) -> None:
    _, _, module = round_trip(nn.Sequential(Net(), nn.Linear(3, 1)), tmp_path)
    for again in (copy.deepcopy(module), _saved(module)):
        assert_same_tensors(module, again)
        with pytest.raises(UnknownForwardError):
            again(x(1, 3))


def _saved(module: nn.Module) -> Any:
    file = io.BytesIO()
    torch.save(module, file)
    file.seek(0)
    return torch.load(file, weights_only=False)


def test_the_systems_come_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(FIXTURES)
    done = 0
    for path in sorted(FIXTURES.glob("full_model_*.pt")):
        loaded = torch.load(path, weights_only=False)
        if not isinstance(loaded, nn.Module):
            continue
        plan, module = rebuilt(path)
        assert plan.level == "exact config"
        assert_same_tensors(loaded, module)
        for (_, one), (_, other) in zip(loaded.named_modules(), module.named_modules(), strict=True):
            if type(one).__module__.startswith("torch."):
                assert type(one) is type(other)
                assert one.extra_repr() == other.extra_repr()
            else:
                assert isinstance(other, Skeleton)
            assert one.training == other.training
        done += 1
    assert done > 20
    sys.modules.pop("systems", None)
