"""Runs emitted source, and loads into it what its file holds: a program for `emitted.run`."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from typing import Any

import safetensors.torch
import torch
from torch.nn.parameter import is_lazy


def main() -> None:
    """Answer the cases on stdin."""
    answers = {}
    for name, case in json.load(sys.stdin).items():
        answer: dict[str, Any] = {}
        try:
            answer_case(case, answer)
        except Exception as error:
            answer["error"] = f"{type(error).__name__}: {error}"
        answers[name] = answer
    json.dump(answers, sys.stdout)


def answer_case(case: Mapping[str, Any], answer: dict[str, Any]) -> None:
    """Build, tell the tensors, load strictly, compare outputs."""
    space: dict[str, Any] = {}
    exec(compile(case["source"], "emitted", "exec"), space)
    model = space["build"]()
    answer["tensors"] = {
        key: [str(value.dtype), None if is_lazy(value) else list(value.shape)]
        for key, value in model.state_dict().items()
        if isinstance(value, torch.Tensor)
    }
    answer["frozen"] = [name for name, value in model.named_parameters() if not value.requires_grad]
    answer["eval"] = [name for name, module in model.named_modules() if not module.training]
    answer["modules"] = [name for name, _ in model.named_modules()]
    answer["parameters"] = [name for name, _ in model.named_parameters()]
    if case["file"] is None:
        model.load_state_dict(model.state_dict())
        return
    if case["file"].endswith(".safetensors"):
        safetensors.torch.load_model(model, case["file"])
        answer["loaded"] = True
        return
    original, state = contents(case)
    model.load_state_dict(state, assign="assign=True" in case["source"])
    answer["loaded"] = True
    if isinstance(original, torch.nn.Module):
        answer["original"] = {
            "frozen": [name for name, value in original.named_parameters() if not value.requires_grad],
            "eval": [name for name, module in original.named_modules() if not module.training],
            "modules": [name for name, _ in original.named_modules()],
            "parameters": [name for name, _ in original.named_parameters()],
        }
    if case["inputs"] is not None:
        inputs, outputs = torch.load(case["inputs"], weights_only=False)
        answer["equal"] = same(model.eval()(*inputs), outputs)


def contents(case: Mapping[str, Any]) -> tuple[Any, dict[str, Any]]:
    """What the file holds, and the state dict in it."""
    original = torch.load(case["file"], weights_only=False, map_location="cpu")
    if isinstance(original, torch.nn.Module):
        return original, original.state_dict()
    state = {}
    for key, path in case["paths"].items():
        value = original
        for step in path:
            value = value[step]
        state[key] = value
    return original, state


def same(one: Any, other: Any) -> bool:
    """Whether two outputs are equal to the bit, but for which NaN it is."""
    if isinstance(one, torch.Tensor):
        return torch.equal(one.isnan(), other.isnan()) and torch.equal(one.nan_to_num(), other.nan_to_num())
    return len(one) == len(other) and all(map(same, one, other))


if __name__ == "__main__":
    main()
