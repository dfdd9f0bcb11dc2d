"""What `build` makes of plans, whatever keys and tensors they have: loading strictly always succeeds."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Mapping
from pathlib import Path
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
    *("", ".", "..", "a.", ".a", "a..b", "a b", "ä", "日本", "\u202e", "training", "forward", "T_destination", "weight"),
    *("weight.weight", "weight.weight.weight", "bias", "_parameters", "_modules.x", "0", "1", "0.0", "state_dict"),
    *("_extra_state", "a._extra_state", "a.weight", "a.bias", "running_mean", "num_batches_tracked", "_cls"),
    *("conv.weight", "conv.bias", "conv.weight.0", "lstm.weight_ih_l0", "lstm.weight_hh_l0", "__class__", "_values"),
    *("weight_g", "weight_v", "weight_orig", "weight_mask", "parametrizations.weight.original", "in_proj_weight"),
)


def meta(key: str, tensor: Tensor, **more: Any) -> TensorMeta:
    """What a reader says of `tensor`."""
    facts = {"dtype": str(tensor.dtype).removeprefix("torch."), "stride": tensor.stride(), "offset": 0, **more}
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
            assert held[key].dtype == kept.dtype and held[key].shape == kept.shape
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


keys = st.lists(st.one_of(st.sampled_from(NASTY), st.text(".ab0\n ", max_size=6), st.text(max_size=8)), max_size=9)
layers = st.sampled_from(
    [
        Part("", None),
        Part("", "Linear", confidence="likely", arguments={"in_features": 2, "out_features": 3}),
        Part("", "Linear", "torch.nn.Linear", arguments={"in_features": 2, "out_features": 3}),
        Part("", "Conv2d", arguments={"in_channels": 1, "out_channels": 2, "kernel_size": 3}, unknown=("stride",)),
        Part("", "LSTM", arguments={"input_size": 2, "hidden_size": 3, "num_layers": 10**9}),
        Part("", "Sequential", "torch.nn.Sequential"),
        Part("", "ModuleDict", "torch.nn.ModuleDict"),
        Part("", "ParameterList"),
        Part("", "Linear", arguments={"in_features": "x", "nonsense": ()}, wrappers=(("weight_norm", "weight"),)),
        Part("", "Embedding", arguments={"num_embeddings": 2**62, "embedding_dim": 2**62}),
        Part("", "Net", "project.Net", settings={"forward": 1, "width": 3, "_modules": None, "training": "no"}),
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
