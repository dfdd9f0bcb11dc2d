"""Runs that were made elsewhere: another device, version or number of threads is played here."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

torch = pytest.importorskip("torch", reason="runs models")

from ckptaudit.verify.cases import case_of  # noqa: E402
from ckptaudit.verify.derive import derived  # noqa: E402
from ckptaudit.verify.facts import Observation  # noqa: E402
from ckptaudit.verify.judge import judge  # noqa: E402
from ckptaudit.verify.observe import SEED, Asked, observe  # noqa: E402
from tests.verify.zoo import build  # noqa: E402


def here(model: Any, reference: Observation | None = None) -> Observation:
    def cases(given: Any, device: str) -> Any:
        if reference is None:
            return derived(given, device, SEED, 20)
        return [case_of(case) for case in reference.inputs]

    return observe(model, cases, Asked(floor=True))


def elsewhere(found: Observation, noise: float) -> Observation:
    """As another device might have given it: every floating number of the outputs a little off."""
    draw = torch.Generator().manual_seed(3)

    def off(leaf: Any) -> Any:
        if not leaf.value.is_floating_point():
            return leaf
        moved = leaf.value * (1 + noise * torch.randn(leaf.shape, generator=draw))
        return leaf._replace(value=moved, digest="")

    outputs = tuple(tuple(map(off, case)) for case in found.outputs)
    return replace(found, outputs=outputs, environment={**found.environment, "device": "cuda"})


def test_close_is_not_equal_and_has_an_end() -> None:
    there = here(build("convnet"))
    same = replace(there, environment={**there.environment, "device": "cuda"})
    assert judge(same, there).verdict == "close (float32)"  # other inputs might differ there
    found = judge(elsewhere(there, 1e-7), there)
    assert (found.verdict, found.equal, found.close) == ("close (float32)", False, True)
    assert "device cuda against cpu" in found.reason
    assert judge(elsewhere(there, 1e-2), there).verdict == "different"


def test_on_the_same_machine_nothing_is_close() -> None:
    there = here(build("convnet"))
    found = replace(elsewhere(there, 1e-7), environment=there.environment)
    assert judge(found, there).verdict == "different"


def test_other_weights_are_no_rounding() -> None:
    """Bits of weights do not hang on a device: near as the outputs may be, they are others."""
    there = here(build("convnet"))
    model = build("convnet")
    with torch.no_grad():
        model.head.bias[0] += 1e-7
    found = judge(elsewhere(here(model, there), 0.0), there)
    assert found.verdict == "different"
    assert found.first_divergence is not None
    assert found.first_divergence.keys == ("head.bias",)


def test_integers_have_no_tolerance() -> None:
    there = here(build("branches"))
    outputs = tuple(
        tuple(leaf if leaf.value.is_floating_point() else leaf._replace(value=leaf.value + 1, digest="")
              for leaf in case)
        for case in there.outputs
    )  # fmt: skip
    found = replace(there, outputs=outputs, environment={**there.environment, "device": "cuda"})
    assert judge(found, there).verdict == "different"


def test_a_floor_is_measured_where_it_is_asked_for() -> None:
    checks = here(build("residual")).checks
    assert checks.rounding is not None
    assert 0 < checks.rounding < 1e-5
    model = build("residual")
    kept = {key: value.clone() for key, value in model.state_dict().items()}
    here(model)
    assert all(torch.equal(value, kept[key]) for key, value in model.state_dict().items())
