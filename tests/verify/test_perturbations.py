"""One thing about a model is changed: the report names it, and never calls the two equal."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest

torch = pytest.importorskip("torch", reason="runs models")

from ckptaudit.verify.cases import case_of  # noqa: E402
from ckptaudit.verify.derive import derived  # noqa: E402
from ckptaudit.verify.facts import Observation  # noqa: E402
from ckptaudit.verify.judge import judge  # noqa: E402
from ckptaudit.verify.observe import SEED, Asked, observe  # noqa: E402
from tests.verify.zoo import ARCHITECTURES, Perturbation, build, perturbations  # noqa: E402

_QUICK = Asked(noise=False)


@pytest.fixture(scope="module")
def reference() -> Callable[[str], Observation]:
    """Every architecture is observed once."""
    known: dict[str, Observation] = {}

    def get(name: str) -> Observation:
        if name not in known:
            known[name] = observe(build(name), lambda model, device: derived(model, device, SEED, 20), _QUICK)
        return known[name]

    return get


def seen(model: Any, reference: Observation) -> Observation:
    cases = [case_of(case) for case in reference.inputs]
    return observe(model, lambda model, device: cases, _QUICK)


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_a_copy_is_equal(name: str, reference: Callable[[str], Observation]) -> None:
    there = reference(name)
    found = judge(seen(copy.deepcopy(build(name)), there), there)
    assert (found.verdict, found.reason, found.first_divergence) == ("equal", "", None)
    assert there.checks.traced
    assert set(there.checks.unread) <= {key for key in there.weights if key.endswith("num_batches_tracked")}


def test_every_perturbation_is_named(reference: Callable[[str], Observation]) -> None:
    tried, named, wrong = 0, 0, []
    for name in ARCHITECTURES:
        for each in perturbations(build(name)):
            model = build(name)
            each.apply(model)
            there = reference(name)
            found = judge(seen(model, there), there)
            tried += 1
            assert found.verdict == "different", (name, each, found.verdict, found.reason)
            if _is_named(each, found.first_divergence):
                named += 1
            else:
                wrong.append((name, each.module, each.key, found.first_divergence))
    assert tried >= 150
    assert named / tried >= 0.95, wrong


def _is_named(each: Perturbation, first: Any) -> bool:
    if first is None or first.module != each.module or each.key not in first.keys:
        return False
    weights = each.kind in ("tensor", "swap")
    return bool(
        first.cause.startswith("weights differ" if weights else "weights equal, configuration differs")
    )
