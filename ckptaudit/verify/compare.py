"""Two models in hand."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from ckptaudit.verify.cases import as_cases, case_of
from ckptaudit.verify.comparison import Comparison
from ckptaudit.verify.derive import derived
from ckptaudit.verify.judge import judge
from ckptaudit.verify.observe import SEED, Asked, observe
from ckptaudit.verify.outputs import leniency

_SECONDS = 30.0  # for finding inputs


def compare_models(
    model: Any, reference: Any, inputs: Any = None, *, threads: int = 1, seed: int = SEED, as_is: bool = False
) -> Comparison:
    """Whether two nn.Modules in hand give equal outputs, and where they part.

    `inputs` is a tensor, a tuple of arguments, a dict of keywords, or a list of such; without them some are
    derived from the layers. Both are run in eval mode, `as_is` in the mode that each module is in. They stay
    as they are, and so do the settings of torch. Nothing runs in another process: whether a file determines
    the outputs is for `verify` to find out.
    """

    def given(module: Any, device: str) -> Any:
        return as_cases(inputs) if inputs is not None else derived(module, device, seed, _SECONDS)

    asked = Asked(threads=threads, seed=seed, as_is=as_is)
    there = observe(reference, given, asked)
    if there.cannot and inputs is None:
        return judge(there, there)
    cases = as_cases(inputs) if inputs is not None else [case_of(case) for case in there.inputs]
    here = observe(model, lambda module, device: cases, asked)
    if leniency(here, there):
        floor = observe(model, lambda module, device: cases, asked._replace(floor=True)).checks
        here = replace(here, checks=replace(here.checks, rounding=floor.rounding))
    return judge(here, there)
