"""The answer of a verification: frozen data, the same for people, programs and tests."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

EQUAL, DIFFERENT, INCOMPLETE = "equal", "different", "incomplete"
NONDETERMINISTIC, STOCHASTIC = "nondeterministic", "stochastic"


class Stage(NamedTuple):
    """One step of it: `equal`, `close (float32)`, `different`, `deterministic`, `measured`, ..., and why."""

    name: str
    verdict: str
    detail: str


class Output(NamedTuple):
    """One output, over all inputs. `max_abs` is the largest difference, `max_rel` that over max|y| of the
    reference; both None where none can be taken. `mismatched` counts elements that differ in their bits,
    `nan` NaNs that only one side has."""

    name: str
    max_abs: float | None
    max_rel: float | None
    mismatched: int
    nan: int
    dtype: str = ""


class Divergence(NamedTuple):
    """The first call whose inputs agree and whose outputs do not.

    `call` is which call of the module it is, counted from 1 over one run; None where nothing ran apart.
    `keys` are the tensors or attributes that differ.
    """

    call: int | None
    module: str
    cause: str
    keys: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Comparison:
    """Two models compared by their outputs.

    `verdict` is `equal`, `close (dtype)`, `different`, `nondeterministic`, `stochastic` or `incomplete`, and
    `reason` says why, where it is not `equal`. `subject` and `reference` name the two, where they are files.
    `ties` are the groups of keys that share memory in what was verified.
    """

    verdict: str
    stages: tuple[Stage, ...]
    outputs: tuple[Output, ...] = ()
    first_divergence: Divergence | None = None
    ties: tuple[tuple[str, ...], ...] = ()
    settings: Mapping[str, Any] = field(default_factory=dict)
    subject: str = ""
    reference: str = ""
    reason: str = ""

    @property
    def equal(self) -> bool:
        """Whether all outputs are equal in every bit, and nothing speaks against it."""
        return self.verdict == EQUAL

    @property
    def close(self) -> bool:
        """Whether the outputs agree within the tolerance of another dtype or machine, and are not equal."""
        return self.verdict.startswith("close")

    def __bool__(self) -> bool:
        raise TypeError("a Comparison is neither true nor false: ask for .equal or .verdict")
