"""What `build` makes of plans, whatever keys and tensors they have: loading strictly always succeeds."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Mapping
from pathlib import Path
from time import perf_counter
from typing import Any

import pytest

torch = pytest.importorskip("torch", reason="modules are torch's")

from hypothesis import HealthCheck, given, settings  # noqa: E402
from hypothesis import strategies as st  # noqa: E402
from torch import Tensor, nn  # noqa: E402

from ckptaudit.model import TensorMeta  # noqa: E402
from ckptaudit.readers import read  # noqa: E402
from ckptaudit.rebuild.build import build, cannot_run, fill  # noqa: E402
from ckptaudit.rebuild.modules import Conv1D, Skeleton, UnknownForwardError  # noqa: E402
from ckptaudit.rebuild.plan import Part, Plan  # noqa: E402
from ckptaudit.rebuild.skeleton import plan_skeleton  # noqa: E402
from ckptaudit.saved import saved  # noqa: E402

State = Mapping[str, Any]
NASTY = (
    *(
        "",
        ".",
        "..",
        "a.",
        ".a",
        "a..b",
        "a b",
        "ä",
        "日本",
        "\u202e",
        "training",
        "forward",
        "T_destination",
        "weight",
    ),
    *(
        "weight.weight",
        "weight.weight.weight",
        "bias",
        "_parameters",
        "_modules.x",
        "0",
        "1",
        "0.0",
        "state_dict",
    ),
    *("_extra_state", "a._extra_state", "a.weight", "a.bias", "running_mean", "num_batches_tracked", "_cls"),
    *(
        "conv.weight",
        "conv.bias",
        "conv.weight.0",
        "lstm.weight_ih_l0",
        "lstm.weight_hh_l0",
        "__class__",
        "_values",
    ),
    *(
        "weight_g",
        "weight_v",
        "weight_orig",
        "weight_mask",
        "parametrizations.weight.original",
        "in_proj_weight",
    ),
)


def meta(key: str, tensor: Tensor, **more: Any) -> TensorMeta:
    """What a reader says of `tensor`."""
    facts = {
        "dtype": str(tensor.dtype).removeprefix("torch."),
        "stride": tensor.stride(),
        "offset": 0,
        **more,
    }
    return TensorMeta(path=(key,), key=key, shape=tuple(tensor.shape), storage=key, **facts)


def plan_of(state: State, parts: Mapping[str, Part] | None = None, **more: Any) -> Plan:
    """A plan for the tensors of `state`; other values are extra."""
    rows = {key: meta(key, kept) for key, kept in state.items() if isinstance(kept, Tensor)}
    extra = {key: kept for key, kept in state.items() if not isinstance(kept, Tensor)}
    return Plan("made.pt", "Model", "typed skeleton", parts or {"": Part("")}, rows, extra=extra, **more)


def filled(state: State, parts: Mapping[str, Part] | None = None, **more: Any) -> nn.Module:
    """The module of a plan, loaded, after it was seen to take the state dict as torch does."""
    plan = plan_of(state, parts, **more)
    module = build(plan)
    assert set(module.state_dict(keep_vars=True)) == set(state)
    tensors = {key: kept for key, kept in state.items() if isinstance(kept, Tensor)}
    fill(module, plan, tensors, {}, plan.extra)
    agree(module, state)
    return module


def agree(module: nn.Module, state: State) -> None:
    """The state dict of `module` has the values of `state`, in the same memory."""
    held = module.state_dict(keep_vars=True)
    assert held.keys() == state.keys()
    for key, kept in state.items():
        if isinstance(kept, Tensor):
            assert (held[key].dtype, held[key].shape) == (kept.dtype, kept.shape)
            assert kept.layout != torch.strided or held[key].data_ptr() == kept.data_ptr()
        else:
            assert held[key] == kept


def modules_of(keys: State) -> dict[str, Part]:
    """A part for every prefix of a key, as a planner makes them."""
    found = {"": Part("")}
    for key in keys:
        steps = key.split(".")[:-1]
        for end in range(1, len(steps) + 1):
            path = ".".join(steps[:end])
            found.setdefault(path, Part(path))
    return found


keys = st.lists(
    st.one_of(st.sampled_from(NASTY), st.text(".ab0\n ", max_size=6), st.text(max_size=8)), max_size=9
)
layers = st.sampled_from(
    [
        Part("", None),
        Part("", "Linear", confidence="likely", arguments={"in_features": 2, "out_features": 3}),
        Part("", "Linear", "torch.nn.Linear", arguments={"in_features": 2, "out_features": 3}),
        Part(
            "",
            "Conv2d",
            arguments={"in_channels": 1, "out_channels": 2, "kernel_size": 3},
            unknown=("stride",),
        ),
        Part("", "LSTM", arguments={"input_size": 2, "hidden_size": 3, "num_layers": 10**9}),
        Part("", "Sequential", "torch.nn.Sequential"),
        Part("", "ModuleDict", "torch.nn.ModuleDict"),
        Part("", "ParameterList"),
        Part(
            "",
            "Linear",
            arguments={"in_features": "x", "nonsense": ()},
            wrappers=(("weight_norm", "weight"),),
        ),
        Part("", "Embedding", arguments={"num_embeddings": 2**62, "embedding_dim": 2**62}),
        Part(
            "", "Net", "project.Net", settings={"forward": 1, "width": 3, "_modules": None, "training": "no"}
        ),
        Part("", "TransformerEncoder", arguments={"num_layers": 3}),
    ]
)
values = st.sampled_from(
    [
        torch.ones(3, 2),
        torch.ones(3),
        torch.tensor(1.5),
        torch.zeros(0, 4),
        torch.tensor([1, 2]),
        torch.tensor(True),
        torch.ones(2, dtype=torch.complex64),
        torch.ones(2).to(torch.float8_e4m3fn),
        torch.ones(2, dtype=torch.bfloat16),
        torch.eye(3).to_sparse(),
        nn.Parameter(torch.ones(3), requires_grad=False),
        3,
        "text",
        None,
    ]
)


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.data())
def test_any_state_dict_loads_strictly(data: st.DataObject) -> None:
    state = {key: data.draw(values) for key in data.draw(keys)}
    parts = {path: data.draw(layers)._replace(path=path) for path in modules_of(state)}
    filled(state, parts)


@settings(max_examples=100, deadline=None)
@given(st.data())
def test_any_plan_with_aliases_and_missing_parts_loads_strictly(data: st.DataObject) -> None:
    state = {key: data.draw(values) for key in data.draw(keys)}
    found = list(modules_of(state))
    parts = {
        path: data.draw(layers)._replace(path=path, alias=data.draw(st.none() | st.sampled_from(found)))
        for path in found
        if path == "" or data.draw(st.booleans())
    }
    filled(state, parts)


def test_lazy_tensors_stay_lazy_until_they_are_given() -> None:
    rows = {
        "0.weight": meta("0.weight", torch.ones(2))._replace(shape=None, stride=(), kind="lazy"),
        "odd name.x": meta("odd name.x", torch.ones(2))._replace(shape=None, stride=(), kind="lazy"),
        "plain": meta("plain", torch.ones(2)),
    }
    parts = {"": Part(""), "0": Part("0"), "odd name": Part("odd name")}
    plan = Plan("made.pt", "Model", "parametric skeleton", parts, rows)
    module = build(plan)
    fill(module, plan, {"plain": torch.ones(2)}, {}, {})
    assert {key for key, kept in module.state_dict().items() if nn.parameter.is_lazy(kept)} == {
        "0.weight",
        "odd name.x",
    }
    copy.deepcopy(module)
    module.load_state_dict({**module.state_dict(), "0.weight": torch.ones(3)}, assign=True)
    assert module.state_dict()["0.weight"].shape == (3,)


def test_strictness_is_kept() -> None:
    state = {"a.weight": torch.ones(2), "epoch": 3}
    plan = plan_of(state, modules_of(state))
    module = build(plan)
    with pytest.raises(RuntimeError, match=r"missing 'a\.weight'"):
        fill(module, plan, {}, {}, plan.extra)
    with pytest.raises(RuntimeError, match="size mismatch"):
        fill(module, plan, {"a.weight": torch.ones(3)}, {}, plan.extra)
    module.load_state_dict(state, strict=True, assign=True)
    module.load_state_dict(state, strict=True)
    with pytest.raises(RuntimeError, match="Unexpected"):
        module.load_state_dict({**state, "b": torch.ones(1)})
    with pytest.raises(RuntimeError, match="Unexpected"):
        module.load_state_dict({**state, "a.weight.c": torch.ones(1)})
    with pytest.raises(RuntimeError, match="Missing"):
        module.load_state_dict({"epoch": 3})
    with pytest.raises(RuntimeError, match="a tensor is expected"):
        module.load_state_dict({**state, "a.weight": 3})
    assert module.load_state_dict({}, strict=False).missing_keys == ["epoch", "a.weight"]


def test_deep_and_wide_state_dicts_load() -> None:
    deep = ".".join("a" * 3000)
    filled({f"{deep}.weight": torch.ones(1), "a.a.weight": torch.ones(2)}, modules_of({"a.a.weight": 0}))
    steps = [".".join("a" * size) for size in range(1, 3000)]
    filled({f"{deep}.weight": torch.ones(1)}, {path: Part(path) for path in ("", *steps)})
    wide = {f"{index}.weight": torch.ones(1) for index in range(3000)}
    filled(wide, modules_of(wide))


def test_tied_parameters_are_one_object() -> None:
    weight = torch.ones(3, 2)
    state = {"a.weight": weight, "b.weight": weight, "c.weight": weight.view(2, 3)}
    tied = filled(state, modules_of(state), ties=(("a.weight", "b.weight"),))
    parameters = dict(tied.named_parameters(remove_duplicate=False))
    assert parameters["a.weight"] is parameters["b.weight"]
    assert parameters["c.weight"] is not parameters["a.weight"]


def test_state_dicts_do_not_freeze_and_parameters_do() -> None:
    rows = {
        "a": meta("a", torch.ones(2), requires_grad=False),
        "b": meta("b", torch.ones(2), requires_grad=False, kind="parameter"),
        "c": meta("c", torch.ones(2), kind="buffer"),
        "running_mean": meta("running_mean", torch.ones(2)),
        "steps": meta("steps", torch.tensor(2)),
    }
    plan = Plan("made.pt", "Model", "parametric skeleton", {"": Part("")}, rows)
    module = build(plan)
    fill(
        module,
        plan,
        {key: torch.ones(2) for key in rows if key != "steps"} | {"steps": torch.tensor(2)},
        {},
        {},
    )
    assert {name: kept.requires_grad for name, kept in module.named_parameters()} == {"a": True, "b": False}
    assert set(dict(module.named_buffers())) == {"c", "running_mean", "steps"}


def test_guesses_that_fit_run_and_others_refuse() -> None:
    linear = Part("0", "Linear", arguments={"in_features": 2, "out_features": 3})
    unsure = Part("1", "LayerNorm", arguments={"normalized_shape": (3,)}, unknown=("eps",))
    wrong = linear._replace(path="2", arguments={"in_features": 3, "out_features": 3})
    biases = {f"{index}.bias": torch.ones(3) for index in range(3)}
    weights = {"0.weight": torch.ones(3, 2), "1.weight": torch.ones(3), "2.weight": torch.ones(3, 2)}
    state = {**weights, **biases}
    module: Any = filled(state, {"": Part(""), "0": linear, "1": unsure, "2": wrong})
    children = dict(module.named_children())
    assert children["0"](torch.ones(1, 2)).tolist() == [[3.0, 3.0, 3.0]]
    with pytest.raises(UnknownForwardError, match="LayerNorm: the checkpoint does not tell eps"):
        children["1"](torch.ones(1, 3))
    with pytest.raises(UnknownForwardError, match="no Linear after all: weight has shape"):
        children["2"](torch.ones(1, 2))
    plan = plan_of(state, {"": Part(""), "0": linear, "1": unsure, "2": wrong})
    assert [reason.partition(":")[0] for reason in cannot_run(build(plan))] == ["the model", "1", "2"]
    again = pickle.loads(pickle.dumps(module))
    with pytest.raises(UnknownForwardError):
        copy.deepcopy(again)(1)


def test_integer_weights_are_no_linear_layer() -> None:
    linear = Part("", "Linear", arguments={"in_features": 2, "out_features": 3, "bias": False})
    module = filled({"weight": torch.ones(3, 2, dtype=torch.int8)}, {"": linear})
    assert isinstance(module, Skeleton)


def test_batch_norms_of_before_they_counted() -> None:
    part = Part("", "BatchNorm1d", arguments={"num_features": 2})
    names = ("weight", "bias", "running_mean", "running_var")
    module = filled({name: torch.ones(2) for name in names}, {"": part})
    assert module.train()(torch.ones(4, 2)).shape == (4, 2)


def test_conv1d_is_that_of_transformers() -> None:
    part = Part("", "Conv1D", arguments={"nf": 3, "nx": 2})
    state = {"weight": torch.arange(6.0).view(2, 3), "bias": torch.ones(3)}
    module = filled(state, {"": part})
    assert isinstance(module, Conv1D)
    given = torch.ones(4, 5, 2)
    assert torch.equal(module(given), given @ state["weight"] + state["bias"])


def test_new_parametrizations(tmp_path: Path) -> None:
    from torch.nn.utils import parametrizations

    torch.manual_seed(0)
    net = nn.Sequential(
        parametrizations.weight_norm(nn.Linear(4, 3)), parametrizations.spectral_norm(nn.Linear(3, 3))
    ).eval()
    path = tmp_path / "state.pt"
    torch.save(net.state_dict(), path)
    checkpoint = read(path)
    plan = plan_skeleton(checkpoint, saved(checkpoint))
    module: Any = build(plan)
    fill(module, plan, net.state_dict(), {}, {})
    agree(module, net.state_dict())
    for name, child in module.eval().named_children():
        assert torch.equal(
            child(torch.ones(1, child.in_features)), net[int(name)](torch.ones(1, child.in_features))
        )


def test_loading_many_children_takes_no_time_for_each_pair_of_them() -> None:
    module = Skeleton()
    for number in range(20_000):
        module._modules[f"a.{number}"] = Skeleton()
    state = {f"a.{number}.weight": torch.ones(()) for number in range(20_000)}
    unexpected: list[str] = []
    start = perf_counter()
    module._load_from_state_dict({**state, "b.c": 1}, "", {}, True, [], unexpected, [])
    assert unexpected == ["b.c"]
    assert perf_counter() - start < 2
