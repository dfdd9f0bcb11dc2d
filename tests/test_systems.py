"""The 22 systems end to end: read, checked, rebuilt from names alone, from the whole model and with their own
code, and compared with the model that was saved.

A row names the file that holds the state dict and the one that holds the whole model, how its own code builds
it, and what is to be said. The oracle is torch: the whole model as torch loads it, and strict loading.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest

import ckptaudit
from ckptaudit.readers import read
from ckptaudit.summary import alias_name, ties

pytest.importorskip("torch", reason="the oracle is torch itself")

import torch
from torch import nn

from ckptaudit.rebuild import rebuild
from ckptaudit.verify import compare_models
from tests.oracle import FIXTURES, tensors_of

sys.path.append(str(FIXTURES))
import systems

pytestmark = pytest.mark.filterwarnings("ignore:.*Lazy modules are a new feature")


@dataclass(frozen=True)
class Row:
    """One system. `inputs` are the sizes of its input; `verdict` is that of its state dict in its own code
    against the whole model; `layers` what inference must say of some modules; `lost` what no state dict
    holds."""

    number: str
    file: str
    whole: str = ""
    build: Callable[[], Any] | None = None
    inputs: tuple[int, ...] = (2, 20)
    verdict: str = "equal"
    runs: bool = False  # by itself, from the whole model
    ties: tuple[tuple[str, ...], ...] = ()
    layers: dict[str, str] = field(default_factory=dict)
    lost: tuple[str, ...] = ()
    level: str = "typed skeleton"
    fits: bool = True

    @property
    def name(self) -> str:
        return f"{self.number} {self.file}"


def _blocks(cls: Any) -> Callable[[], Any]:
    return lambda: cls(*systems.small_blocks())


def _regressor() -> Any:
    return nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 1))


def _six() -> Any:
    return nn.Sequential(nn.Linear(6, 4), nn.ReLU(), nn.Linear(4, 2))


def _two() -> Any:
    return nn.Sequential(nn.Linear(4, 3), nn.Linear(3, 2))


def _new_head() -> Any:
    return nn.Sequential(*list(systems.frozen())[:4], nn.Linear(6, 5))


SHARED = (("2.weight", "4.weight"), ("2.bias", "4.bias"))
SUBMODULE = tuple((f"shared_layer1.0.{name}", f"shared_layer2.0.{name}") for name in ("weight", "bias"))
CLOSURE = {"": "Linear"}

ROWS = (
    Row("1", "sequential_mlp.pt", "full_model_sequential_mlp.pt", systems.sequential_mlp, runs=True,
        layers={"0": "Linear", "2": "Linear"}),
    Row("2", "mlp.params", "full_model_mlp.pt", systems.MLP, layers={"hidden": "Linear", "output": "Linear"}),
    Row("2b", "mlp_out.pt", "", systems.MLPOut, layers={"out": "Linear"}),
    Row("3", "my_sequential.pt", "full_model_my_sequential.pt", _blocks(systems.MySequential)),
    Row("3", "module_list.pt", "full_model_module_list.pt", _blocks(systems.ModuleListNet)),
    Row("3", "python_list.pt", "full_model_python_list.pt", _blocks(systems.PythonListNet),
        verdict="different", lost=("python_list.0.weight",), level="parametric skeleton"),
    Row("4", "fixed_hidden_mlp.pt", "full_model_fixed_hidden_mlp.pt", systems.FixedHiddenMLP,
        verdict="different", lost=("rand_weight",)),
    Row("5", "nest_mlp.pt", "full_model_nest_mlp.pt", systems.NestMLP),
    Row("5", "chimera.pt", "full_model_chimera.pt", systems.chimera, verdict="different",
        lost=("2.rand_weight",)),
    Row("6", "parallel_block.pt", "full_model_parallel_block.pt", systems.ParallelBlock, (2, 3, 6, 6),
        layers={"branch1": "Conv2d", "branch2": "Conv2d"}),
    Row("7", "closure_network.pt::head", "full_model_closure_network.pt::head", lambda: nn.Linear(8, 2),
        (2, 8), runs=True, layers=CLOSURE),
    Row("8", "rgnet.pt", "full_model_rgnet.pt", systems.rgnet, (64, 4), runs=True,
        layers={f"0.block {index}.{place}": "Linear" for index in range(4) for place in (0, 2)}),
    *(Row("9", f"init_{name}.pt", "", _regressor, (2, 4))
      for name in ("normal", "constant", "xavier", "42", "custom")),
    Row("10", "shared.pt", "full_model_shared.pt", systems.shared, (2, 4), runs=True, ties=SHARED),
    Row("10", "shared.safetensors", "", systems.shared, (2, 4), ties=SHARED),
    Row("11", "shared_submodule.pt", "full_model_shared_submodule.pt", systems.SharedSubmodule, (2, 8),
        ties=SUBMODULE),
    Row("12", "lazy.pt", "full_model_lazy.pt", systems.lazy, verdict="incomplete"),
    Row("12", "lazy_loaded.pt", "", systems.lazy),
    Row("12", "lazy_half.pt", "full_model_lazy_half.pt", systems.LazyHalf, (2, 6), verdict="incomplete"),
    Row("13", "centered.pt", "full_model_centered.pt", systems.centered, (2, 8)),
    Row("13", "centered.safetensors", "", systems.centered, (2, 8)),
    Row("14", "my_linear.pt", "full_model_my_linear.pt", lambda: systems.MyLinear(5, 3), (2, 5)),
    Row("15", "reduction.pt", "full_model_reduction.pt", lambda: systems.Reduction(4, 3), (2, 4)),
    Row("16", "fourier.pt", "full_model_fourier.pt", systems.Fourier, (2, 9), level="parametric skeleton"),
    Row("17", "x_file.pt", level="parametric skeleton"),
    Row("17", "x_files.pt", level="parametric skeleton"),
    Row("17", "mydict.pt", level="parametric skeleton"),
    Row("19", "frozen.pt", "full_model_frozen.pt", systems.frozen, (2, 8), runs=True),
    Row("19", "frozen_new_head.pt", "", _new_head, (2, 8)),
    *(Row("20", f"devices_{name}.pt", "", _two, (2, 4)) for name in ("cuda", "mixed", "missing", "mps")),
    Row("21", "bn_dropout.pt", "full_model_bn_dropout_train.pt", systems.bn_dropout, (2, 3, 6, 6), runs=True,
        layers={"0": "Conv2d", "1": "BatchNorm2d"}),
    Row("21", "bn_dropout.safetensors", "", systems.bn_dropout, (2, 3, 6, 6),
        layers={"0": "Conv2d", "1": "BatchNorm2d"}),
    Row("21", "bn_dropout.pt", "full_model_bn_dropout_eval.pt", systems.bn_dropout, (2, 3, 6, 6),
        runs=True),
    Row("22", "train_ckpt.pt", "", _six, (2, 6), layers={"0": "Linear", "2": "Linear"}),
)  # fmt: skip


def _each(rows: list[Row]) -> Any:
    return pytest.mark.parametrize("row", rows, ids=[row.name for row in rows])


def path(file: str) -> str:
    return str(FIXTURES / file)


def as_torch_loads(file: str) -> Any:
    """What hangs at `file`, or at `file::name`."""
    name, _, part = file.partition("::")
    loaded = torch.load(FIXTURES / name, weights_only=False, map_location="cpu")
    return loaded[part] if part else loaded


def state_of(row: Row) -> dict[str, Any]:
    """The state dict of the file by torch's or safetensors' own loader."""
    if row.file.endswith(".safetensors"):
        from safetensors.torch import load_file

        state = load_file(path(row.file))
        return {**state, **{second: state[first] for first, second in row.ties}}
    loaded = as_torch_loads(row.file)
    loaded = loaded["model"] if row.number == "22" else loaded
    if row.number == "17":
        return {".".join(map(str, where)): tensor for where, tensor in tensors_of(loaded).items()}
    return dict(loaded)


@pytest.fixture(autouse=True)
def _seeded() -> None:
    torch.manual_seed(1)  # not the one that the fixtures are made with


@_each(list(ROWS))
def test_read_and_checked(row: Row) -> None:
    file = row.file.partition("::")[0]
    checkpoint = read(path(file))
    assert not checkpoint.problems
    names = alias_name(checkpoint)
    expected = () if file.endswith(".safetensors") else row.ties  # safetensors keeps one of the two
    assert {frozenset(names(group)) for group in ties(checkpoint)} == set(map(frozenset, expected))
    report = ckptaudit.check(path(row.file), fail_on="error", select=["trust", "integrity"])
    assert report.exit_code == 0


@_each(list(ROWS))
def test_the_skeleton_takes_its_state_dict(row: Row) -> None:
    found = rebuild(path(row.file))
    assert found.level == row.level
    assert found.cannot_run, "a state dict holds no forward"
    assert {
        each.path: each.layer for each in found.plan.parts.values() if each.path in row.layers
    } == row.layers
    assert not any(
        each.confidence == "certain" for each in found.plan.parts.values() if each.layer == "Linear"
    )
    state = state_of(row)
    ours = found.module.state_dict()
    assert set(ours) == set(state)
    assert all(torch.equal(ours[key], state[key]) for key in state if not nn.parameter.is_lazy(state[key]))
    assert {frozenset(group) for group in found.ties} == set(map(frozenset, row.ties))
    found.module.load_state_dict(state, strict=True)
    with pytest.raises((RuntimeError, NotImplementedError)):
        found.module(torch.zeros(row.inputs))


@_each([row for row in ROWS if row.whole])
def test_the_whole_model_is_built_exactly(row: Row) -> None:
    found, theirs = rebuild(path(row.whole)), as_torch_loads(row.whole)
    assert found.level == "exact config"
    assert set(row.lost) <= set(found.lost_on_save)
    ours = dict(found.module.named_modules(remove_duplicate=False))
    for name, module in theirs.named_modules(remove_duplicate=False):
        if type(module).__module__.startswith("torch.nn"):
            assert type(ours[name]) is type(module), name
            assert ours[name].extra_repr() == module.extra_repr(), name
        assert ours[name].training == module.training, name
    for (key, mine), (name, other) in zip(
        found.module.named_parameters(), theirs.named_parameters(), strict=True
    ):
        assert (key, mine.requires_grad) == (name, other.requires_grad)
    assert bool(found.cannot_run) == (not row.runs)
    if row.runs:
        x = torch.randn(row.inputs)
        assert torch.equal(found.module.eval()(x), theirs.eval()(x))


@_each([row for row in ROWS if row.build])
def test_its_own_code_answers_as_the_saved_model(row: Row) -> None:
    found = rebuild(path(row.file), model=row.build)
    assert found.fits
    if row.whole:
        saved = as_torch_loads(row.whole)
    else:
        saved = row.build()
        saved.load_state_dict(state_of(row))
    comparison = compare_models(found.module, saved, [torch.randn(row.inputs)])
    assert comparison.verdict == row.verdict, comparison
    if row.verdict == "different" and row.lost:
        assert any(name in str(comparison.first_divergence) for name in row.lost)


def test_a_renamed_layer_and_its_mapping() -> None:
    found = rebuild(path("mlp_out.pt"), model=systems.MLP)
    assert (len(found.missing), len(found.unexpected), found.suggested) == (2, 2, ("out=output (likely)",))
    mapped = rebuild(path("mlp_out.pt"), model=systems.MLP, maps=["out=output"])
    saved = systems.MLPOut()
    saved.load_state_dict(state_of(Row("2b", "mlp_out.pt")))
    assert compare_models(mapped.module, saved, [torch.randn(2, 20)]).verdict == "equal"


def test_a_tie_holds_after_an_edit_and_another_save(tmp_path: Any) -> None:
    from ckptaudit.rebuild.write import save

    save(rebuild(path("shared.pt")), str(tmp_path / "shared.safetensors"))
    module = rebuild(str(tmp_path / "shared.safetensors"), model=systems.shared).module
    with torch.no_grad():
        module[2].weight[0, 0] = 7
    assert module[4].weight[0, 0] == 7


def test_all_rows_are_here() -> None:
    numbers = {int(row.number.rstrip("b")) for row in ROWS}
    assert numbers == set(range(1, 23)) - {18}, "row 18 are the whole models of the others"
    assert {row.number for row in ROWS if row.whole} >= {"1", "2", "5", "8", "10", "12"}
