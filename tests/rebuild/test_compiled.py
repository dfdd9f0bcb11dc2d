"""TorchScript and exported programs of torch.nn's layers: what they keep comes back, the rest is unknown."""

from __future__ import annotations

import copy
import warnings
from pathlib import Path
from typing import Any

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
        "0": ("in_channels", "stride", "padding", "dilation", "groups", "padding_mode"),
        "1": ("eps", "momentum"),
        "3": ("start_dim", "end_dim"),
    }
    assert plan.parts["0"].arguments == {"in_channels": 2, "out_channels": 3, "kernel_size": (3, 3)}
    assert type(module[4]) is nn.Linear
    assert_same_tensors(net, module)
    with pytest.raises(
        RuntimeError, match="Conv2d: the checkpoint does not tell in_channels, stride, padding"
    ):
        module(x(1, 2, 4, 4))
    assert torch.equal(module[4](x(1, 3)), net[4](x(1, 3)))


@pytest.mark.filterwarnings("ignore")
def test_traces_of_grouped_convolutions_do_not_tell_their_channels(tmp_path: Path) -> None:
    transposed = (nn.ConvTranspose2d(6, 4, 3, groups=2, bias=bias) for bias in (False, True))
    net = nn.Sequential(nn.Conv2d(4, 6, 3, groups=2), next(transposed), nn.Conv2d(4, 6, 1), *transposed)
    path = tmp_path / "traced.pt"
    torch.jit.save(torch.jit.trace(net.eval(), x(1, 4, 4, 4)), str(path))
    plan, module = rebuilt(path)
    assert "in_channels" in plan.parts["0"].unknown
    assert "out_channels" in plan.parts["1"].unknown
    # A bias has the size of all groups together.
    assert {"out_channels", "groups"}.isdisjoint(plan.parts["3"].unknown)
    assert (module[3].out_channels, module[3].groups) == (4, 2)
    assert not any(part.settings for part in plan.parts.values())
    assert type(module[0]) is nn.Conv2d
    assert_same_tensors(net, module)


@pytest.mark.filterwarnings("ignore")
def test_a_trace_does_not_claim_what_changes_no_output(tmp_path: Path) -> None:
    path = tmp_path / "traced.pt"
    for layer, level in ((nn.ReLU(inplace=True), "typed skeleton"), (nn.Sigmoid(), "exact config")):
        net = nn.Sequential(layer)
        torch.jit.save(torch.jit.trace(net, x(2, 3)), str(path))
        plan, module = rebuilt(path)
        assert plan.level == level
        assert plan.parts["0"].confidence == "certain"
        assert cannot_run(build(plan)) == ()
        assert torch.equal(module(x(2, 3)), net(x(2, 3)))


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
    inner = nn.Sequential(nn.Linear(3, 4), nn.ReLU(inplace=True), nn.Dropout(0.5), nn.Linear(4, 2))
    net = nn.Sequential(inner, nn.Softmax(-1)).eval()
    path = tmp_path / "net.pt2"
    assert exported(path, net, (x(2, 3),))
    plan, module = rebuilt(path)
    assert list(plan.parts) == ["", "0", "1", "0.0", "0.1", "0.2", "0.3"]
    assert plan.level == "exact config"
    assert repr(module) == repr(net)
    assert [each.training for each in module.modules()] == [False] * 7
    assert torch.equal(module(x(2, 3)), net(x(2, 3)))
    assert build(plan)[0][0].weight.is_meta


# Layers, what an operator does not tell of them, and what they are exported with.
_OPEN = {
    "bce": (nn.BCEWithLogitsLoss(reduction="sum"), ("reduction",), (x(2, 3), torch.ones(2, 3))),
    "ce": (
        nn.CrossEntropyLoss(reduction="sum"),
        ("ignore_index", "reduction", "label_smoothing"),
        (x(2, 3), torch.tensor([0, 2])),
    ),
    "nll": (nn.NLLLoss(reduction="sum"), ("ignore_index", "reduction"), (x(2, 3), torch.tensor([0, 2]))),
    "margin": (nn.SoftMarginLoss(reduction="sum"), ("reduction",), (x(2, 3), torch.ones(2, 3))),
    "poisson": (
        nn.PoissonNLLLoss(),
        ("log_input", "full", "eps", "reduction"),
        (x(2, 3), torch.ones(2, 3)),
    ),
    "batch": (nn.BatchNorm2d(2, momentum=None), ("momentum",), (x(1, 2, 4, 4),)),
    "instance": (
        nn.InstanceNorm2d(2, momentum=None, track_running_stats=True),
        ("momentum",),
        (x(1, 2, 4, 4),),
    ),
    "pool": (nn.AdaptiveAvgPool2d((None, 4)), ("output_size",), (x(1, 2, 8, 8),)),
    "square": (nn.AdaptiveAvgPool2d((None, None)), ("output_size",), (x(1, 2, 8, 8),)),
    "softmax": (nn.Softmax(), ("dim",), (x(2, 3),)),
    "logs": (nn.LogSoftmax(), ("dim",), (x(2, 3),)),
}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", _OPEN)
def test_what_an_operator_does_not_tell_is_unknown(name: str, tmp_path: Path) -> None:
    layer, unknown, inputs = _OPEN[name]
    path = tmp_path / "layer.pt2"
    assert exported(path, layer.eval(), inputs)
    plan, module = rebuilt(path)
    assert plan.level == "typed skeleton"
    assert plan.parts[""].unknown == unknown
    assert not plan.parts[""].settings
    with pytest.raises(RuntimeError, match=f"does not tell {unknown[0]}"):
        module(*inputs)


class _Doubling(nn.Module):  # type: ignore[misc, unused-ignore]
    def forward(self, given: Any) -> Any:
        return nn.functional.interpolate(given, scale_factor=2.0)


@pytest.mark.filterwarnings("ignore")
def test_arguments_of_operators_are_no_attributes(tmp_path: Path) -> None:
    layers = (nn.BatchNorm2d(2), nn.InstanceNorm2d(2, affine=True), nn.GroupNorm(1, 2), nn.LayerNorm(4))
    others = (nn.CircularPad2d(1), nn.ConstantPad2d(1, 2.0), nn.ZeroPad2d(1), nn.Softmax2d(), nn.Upsample(9))
    path = tmp_path / "net.pt2"
    assert exported(path, nn.Sequential(*layers, *others, _Doubling()).eval(), (x(1, 2, 4, 4),))
    plan, _ = rebuilt(path)
    assert len(plan.parts) == 11
    assert [part.settings for part in plan.parts.values() if part.settings] == []
    assert [path for path, part in plan.parts.items() if part.unknown] == ["8"]


@pytest.mark.filterwarnings("ignore")
def test_an_embedding_runs_and_its_norm_is_not_claimed(tmp_path: Path) -> None:
    layer, tokens = nn.Sequential(nn.Embedding(5, 3, norm_type=1.0)), torch.tensor([[1, 4]])
    path = tmp_path / "embedding.pt2"
    assert exported(path, layer, (tokens,))
    plan, module = rebuilt(path)
    assert plan.level == "typed skeleton"
    assert "norm_type" not in plan.parts["0"].arguments
    assert torch.equal(module(tokens), layer(tokens))


@pytest.mark.filterwarnings("ignore")
def test_a_functional_program_has_lost_what_works_in_place(tmp_path: Path) -> None:
    net = nn.Sequential(nn.Linear(3, 4), nn.ReLU(inplace=True))
    program = torch.export.export(net, (x(2, 3),)).run_decompositions({})
    path = tmp_path / "functional.pt2"
    torch.export.save(program, path)
    plan, module = rebuilt(path)
    assert plan.level == "typed skeleton"
    assert torch.equal(module(x(2, 3)), net(x(2, 3)))


@pytest.mark.filterwarnings("ignore")
def test_a_program_exported_for_evaluation_evaluates(tmp_path: Path) -> None:
    tracked = nn.InstanceNorm2d(2, track_running_stats=True)
    tracked.running_mean = torch.tensor([1.0, -2.0])
    path, given = tmp_path / "net.pt2", x(2, 2, 4, 4)
    for layers in ((nn.RReLU(0.1, 0.4),), (tracked,), (nn.Dropout2d(0.5), nn.Hardswish(), nn.RReLU())):
        net = nn.Sequential(*layers).eval()
        assert exported(path, net, (given,))
        _, module = rebuilt(path)
        assert not any(each.training for each in module.modules())
        if type(layers[0]) is not nn.Dropout2d:
            assert torch.equal(module(given), net(given))


@pytest.mark.filterwarnings("ignore")
def test_a_program_that_trains_in_part_is_not_evaluated_as_a_whole(tmp_path: Path) -> None:
    path = tmp_path / "net.pt2"
    for trained in (nn.RReLU(), nn.Dropout(0.5), nn.BatchNorm2d(2)):
        net = nn.Sequential(nn.BatchNorm2d(2).eval(), nn.Sigmoid(), trained)
        assert exported(path, net, (x(2, 2, 4, 4),))
        plan, _ = rebuilt(path)
        assert plan.parts["0"].training is False
        assert plan.parts["1"].training is None
        assert plan.parts["2"].training is not False
    # Without statistics of its own a layer takes those of its input in either mode.
    net = nn.Sequential(nn.BatchNorm2d(2, track_running_stats=False), nn.Dropout(0.5)).eval()
    assert exported(path, net, (x(2, 2, 4, 4),))
    assert [part.training for part in rebuilt(path)[0].parts.values()] == [False] * 3
