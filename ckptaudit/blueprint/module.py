"""`module:pkg.mod:factory` as a reference: the caller's own code builds the model, in a child process."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ckptaudit.blueprint import MODULE, Blueprint, Expected
from ckptaudit.isolated import target
from ckptaudit.isolated.process import ask
from ckptaudit.saved import Lost


def load(reference: str, seconds: float, folder: str = "") -> Blueprint:
    """The blueprint of the model that `factory()` returns, built on torch's meta device.

    Raises ChildError where the code fails, takes more than `seconds`, or returns no nn.Module.
    """
    module, factory = target(reference.removeprefix(MODULE), reference)
    request = {"module": module, "factory": factory}
    answer = ask("ckptaudit.blueprint.child", request, reference, seconds, folder)
    return blueprint_of(reference, answer)


def blueprint_of(reference: str, answer: Mapping[str, Any]) -> Blueprint:
    """The blueprint that `live.expectations` tells of."""
    return Blueprint(
        reference,
        answer["name"],
        {key: Expected(_shape(size), dtype) for key, size, dtype in answer["tensors"]},
        tuple(map(tuple, answer["ties"])),
        tuple(answer["other"]),
        {key: Lost(_shape(size), dtype, why) for key, size, dtype, why in answer["lost"]},
    )


def _shape(sizes: list[int] | None) -> tuple[int, ...] | None:
    return None if sizes is None else tuple(sizes)
