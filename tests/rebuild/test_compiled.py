"""TorchScript and exported programs of torch.nn's layers: what they keep comes back, the rest is unknown."""

from __future__ import annotations

import copy
import warnings
from pathlib import Path

import pytest

torch = pytest.importorskip("torch", reason="the oracle is torch itself")

from torch import nn  # noqa: E402

from ckptaudit.rebuild.build import build, cannot_run  # noqa: E402
from tests.rebuild.test_exact import assert_same_tensors, equal, rebuilt  # noqa: E402
from tests.rebuild.zoo import CASES, x  # noqa: E402

# A list of constants is a tuple once it is compiled, and a size no torch.Size.
_AS_TUPLES = ("MaxPool1d-2", "MaxPool2d-2", "MaxPool3d-2", "Fold-1", "Unflatten-1")


def scripted(path: Path, module: nn.Module) -> bool:
    """Whether TorchScript can compile the module, and its file."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            torch.jit.save(torch.jit.script(module), str(path))
        except Exception:
            return False
        finally:
            for each in module.modules():  # what scripting leaves there: cases share some of their modules
                vars(each).pop("__overloads__", None)
    return True


@pytest.mark.filterwarnings("ignore")
def test_scripted_layers_come_back(tmp_path: Path) -> None:
    path = tmp_path / "module.pt"
    done, partly = 0, set()
    for name, case in CASES.items():
        original = case.module()
        if not scripted(path, original):
            continue
        plan, module = rebuilt(path)
        assert_same_tensors(original, module)
        if name not in _AS_TUPLES:
            assert repr(original) == repr(module)
        if plan.level == "exact config":
            if case.inputs is not None and cannot_run(build(plan)) == ():
                inputs = copy.deepcopy(case.inputs)
                assert equal(original.eval()(*case.inputs), module.eval()(*inputs)), name
        else:
            partly.add(name.rpartition("-")[0])
            assert {word for part in plan.parts.values() for word in part.unknown} == {"activation"}
        done += 1
    assert done > 250
    assert partly <= {
        "TransformerDecoder",
        "TransformerDecoderLayer",
        "TransformerEncoderLayer",
        "Transformer",
    }


@pytest.mark.filterwarnings("ignore")
def test_traced_layers_have_their_sizes_and_refuse_to_run(tmp_path: Path) -> None:
    net = nn.Sequential(
        nn.Conv2d(2, 3, 3, stride=2), nn.BatchNorm2d(3), nn.ReLU(), nn.Flatten(), nn.Linear(3, 2)
    )
    path = tmp_path / "traced.pt"
    torch.jit.save(torch.jit.trace(net.eval(), x(1, 2, 4, 4)), str(path))
    plan, module = rebuilt(path)
    assert plan.level == "typed skeleton"
    assert {at: part.unknown for at, part in plan.parts.items() if part.unknown} == {
        "0": ("stride", "padding", "dilation", "groups", "padding_mode"),
        "1": ("eps", "momentum"),
        "3": ("start_dim", "end_dim"),
    }
    assert plan.parts["0"].arguments == {"in_channels": 2, "out_channels": 3, "kernel_size": (3, 3)}
    assert type(module[4]) is nn.Linear
    assert_same_tensors(net, module)
    with pytest.raises(RuntimeError, match="Conv2d: the checkpoint does not tell stride, padding"):
        module(x(1, 2, 4, 4))
    assert torch.equal(module[4](x(1, 3)), net[4](x(1, 3)))


def exported(path: Path, module: nn.Module, inputs: tuple[object, ...]) -> bool:
    """Whether torch can export the module, and its file."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            torch.export.save(torch.export.export(module, inputs), path)
        except Exception:
            return False
        finally:
            for each in module.modules():  # what scripting leaves there: cases share some of their modules
                vars(each).pop("__overloads__", None)
    return True


@pytest.mark.plain
@pytest.mark.filterwarnings("ignore")
def test_exported_layers_that_run_give_equal_outputs(tmp_path: Path) -> None:
    path = tmp_path / "module.pt2"
    ran, kinds = 0, set()
    for name, case in CASES.items():
        # One of each dimension is enough; a loss is a function of two inputs, not a part of a model.
        if case.inputs is None or len(case.inputs) > 1 or "1d-" in name or "3d-" in name:
            continue
        original = nn.Sequential(case.module()).eval()
        if not exported(path, original, case.inputs):
            continue
        plan, module = rebuilt(path)
        if cannot_run(build(plan)) == ():
            inputs = copy.deepcopy(case.inputs)
            assert equal(original(*case.inputs), module.eval()(*inputs)), name
            ran += 1
            kinds.add(name.rpartition("-")[0])
    assert ran > 60
    assert {"Conv2d", "ConvTranspose2d", "BatchNorm2d", "LayerNorm", "Linear", "Embedding", "GELU"} <= kinds


@pytest.mark.filterwarnings("ignore")
def test_exported_layers_stand_in_their_order(tmp_path: Path) -> None:
    inner = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Dropout(0.5), nn.Linear(4, 2))
    net = nn.Sequential(inner, nn.Softmax(-1)).eval()
    path = tmp_path / "net.pt2"
    assert exported(path, net, (x(2, 3),))
    plan, module = rebuilt(path)
    assert list(plan.parts) == ["", "0", "1", "0.0", "0.1", "0.2", "0.3"]
    assert plan.level == "exact config"
    assert repr(module) == repr(net)
    assert torch.equal(module.eval()(x(2, 3)), net(x(2, 3)))
    assert build(plan)[0][0].weight.is_meta
