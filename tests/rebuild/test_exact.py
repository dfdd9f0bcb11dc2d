"""Whole modules: every layer of torch.nn comes back as torch.load gives it, and runs as it did."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch", reason="the oracle is torch itself")

from torch import Tensor, nn  # noqa: E402
from torch.nn.parameter import is_lazy  # noqa: E402

from ckptaudit.readers import read  # noqa: E402
from ckptaudit.rebuild.build import build, cannot_run, fill  # noqa: E402
from ckptaudit.rebuild.exact import plan_exact  # noqa: E402
from ckptaudit.rebuild.known import CONTAINERS, ROWS, needs  # noqa: E402
from ckptaudit.rebuild.place import place  # noqa: E402
from ckptaudit.rebuild.plan import Plan  # noqa: E402
from ckptaudit.saved import saved  # noqa: E402
from tests.rebuild.zoo import CASES  # noqa: E402

# Kept by identity, or compared otherwise: tensors, modules, hooks by the numbers of their handles.
_APART = frozenset({"_parameters", "_buffers", "_modules", "_flat_weights", "_flat_weight_refs"})
_HANDLES = frozenset({"_load_hook", "_initialize_hook"})


def planned(path: Path) -> Plan:
    """The plan of the whole module in a file."""
    checkpoint = read(path)
    return plan_exact(checkpoint, saved(checkpoint))


def rebuilt(path: Path) -> tuple[Plan, Any]:
    """The plan of a file and the module of it, filled from the file itself."""
    checkpoint = read(path)
    plan = plan_exact(checkpoint, saved(checkpoint))
    module = build(plan)
    tensors, unplaced = place(checkpoint, plan.tensors)
    unsaved, _ = place(checkpoint, plan.unsaved)
    assert unplaced == ()
    fill(module, plan, tensors, unsaved, plan.extra)
    return plan, module


def round_trip(module: nn.Module, folder: Path) -> tuple[nn.Module, Plan, Any]:
    """What torch loads of the saved module, the plan, and what comes of it."""
    path = folder / "module.pt"
    torch.save(module, path)
    return torch.load(path, weights_only=False), *rebuilt(path)


def differences(one: nn.Module, other: nn.Module) -> list[str]:
    """Attributes in which two modules differ, their tensors and children aside."""
    found = []
    here, there = vars(one), vars(other)
    for name in sorted((here.keys() | there.keys()) - _APART - _HANDLES):
        a, b = here.get(name, "absent"), there.get(name, "absent")
        if "hooks" in name and len(a) == len(b):
            continue
        if isinstance(a, Tensor):
            same = isinstance(b, Tensor) and torch.equal(a, b)
        else:
            # torch.Size is a tuple that prints otherwise; a reader without torch cannot make one.
            same = a == b and (type(a) is type(b) or isinstance(a, torch.Size))
        if not same:
            found.append(f"{type(one).__name__}.{name}: {a!r} and {b!r}")
    return found


def assert_same(original: nn.Module, module: nn.Module) -> None:
    """Equal classes, configuration, training flags, tensors, ties and aliases."""
    pairs = zip(
        original.named_modules(remove_duplicate=False),
        module.named_modules(remove_duplicate=False),
        strict=True,
    )
    for (path, one), (other_path, other) in pairs:
        assert path == other_path
        assert type(one) is type(other), path
        assert differences(one, other) == []
    assert [*dict(original.named_modules())] == [*dict(module.named_modules())]
    assert_same_tensors(original, module)


def assert_same_tensors(original: nn.Module, module: nn.Module) -> None:
    """The same parameters and buffers under the same names, bit by bit, shared alike."""
    here, there = original.state_dict(keep_vars=True), module.state_dict(keep_vars=True)
    assert list(here) == list(there)
    for key, one in here.items():
        other = there[key]
        assert (type(one), one.requires_grad, one.dtype) == (type(other), other.requires_grad, other.dtype), (
            key
        )
        assert is_lazy(one) or torch.equal(one, other), key
        same = [name for name in here if here[name] is one]
        assert same == [name for name in there if there[name] is other]
    assert [*dict(original.named_buffers())] == [*dict(module.named_buffers())]


def equal(one: Any, other: Any) -> bool:
    """Whether outputs are equal bit by bit, NaN with NaN."""
    if isinstance(one, Tensor):
        return torch.equal(torch.isnan(one), torch.isnan(other)) and torch.equal(
            torch.nan_to_num(one), torch.nan_to_num(other)
        )
    if isinstance(one, tuple):
        return all(equal(a, b) for a, b in zip(one, other, strict=True))
    return bool(one is other)


def assert_same_outputs(original: nn.Module, module: Any, inputs: tuple[Any, ...]) -> None:
    """Equal outputs in both modes, from the same random numbers."""
    for mode in (True, False):
        results = []
        for each in (original, module):
            torch.manual_seed(3)
            results.append(each.train(mode)(*copy.deepcopy(inputs)))
        assert equal(*results)


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize("name", CASES)
def test_every_layer_comes_back(name: str, tmp_path: Path) -> None:
    case = CASES[name]
    original = case.module()
    loaded, plan, module = round_trip(original, tmp_path)
    # torch.load puts relu in the place of a module (TransformerDecoderLayer.__setstate__ in torch 2.13).
    oracle = original if name == "TransformerDecoderLayer-4" else loaded
    assert plan.level == "exact config"
    assert all(
        part.confidence == "certain" and not part.odd and not part.hooks for part in plan.parts.values()
    )
    assert_same(oracle, module)
    assert repr(module) == repr(oracle) or name.startswith("Unflatten")
    if case.inputs is not None:
        assert cannot_run(build(plan)) == ()
        assert_same_outputs(original, module, case.inputs)


def test_the_zoo_has_every_layer() -> None:
    layers = {
        name
        for name in dir(nn)
        if isinstance(kept := getattr(nn, name), type) and issubclass(kept, nn.Module)
    }
    not_tried = {"DataParallel", "RNNBase", "RNNCellBase", "NLLLoss2d", "Container"}
    assert layers - {name.rpartition("-")[0] for name in CASES} - not_tried <= {"LinearCrossEntropyLoss"}
    assert layers - not_tried <= ROWS.keys()


@pytest.mark.parametrize("layer", sorted(ROWS.keys() - CONTAINERS.keys()))
def test_rows_are_torchs_signatures(layer: str) -> None:
    import inspect

    from ckptaudit.rebuild.construct import classes

    kept = classes().get(layer)
    if kept is None:
        pytest.skip(f"this torch has no {layer}")
    inits = (vars(each)["__init__"] for each in kept.__mro__ if "__init__" in vars(each))
    found: dict[str, Any] = {}
    for init in inits:
        parameters = inspect.signature(init).parameters
        found = {**parameters, **found}
        if "args" not in parameters:
            break
    for name, default in ROWS[layer].items():
        if name in ("nonlinearity", "proj_size") or layer in ("GRU", "LSTM", "RNN"):
            continue
        assert name in found, name
        theirs = found[name].default
        if needs(layer, name):
            assert theirs is inspect.Parameter.empty, name
        elif name != "activation":
            assert (theirs, type(theirs)) == (default, type(default)), name
