"""All hostile, broken and scary files: CASES, by name."""

from __future__ import annotations

from typing import Final

from tests.hostile import (
    bombs,
    broken,
    callables,
    floods,
    gadgets,
    honest,
    indirection,
    nested,
    texts,
)
from tests.hostile.case import Case

CASES: Final[tuple[Case, ...]] = (
    *callables.CASES,
    *indirection.CASES,
    *gadgets.CASES,
    *nested.CASES,
    *broken.CASES,
    *texts.CASES,
    *honest.CASES,
    *floods.CASES,
    *bombs.CASES,
)
