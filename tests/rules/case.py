"""What a rule must say of one file: a bad one fires it, a good one leaves it silent."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

FIXTURES = Path(__file__).parents[2] / "fixtures"


@dataclass(frozen=True, slots=True)
class Case:
    """`build` writes the file into a folder, and gives its path; `options` are those of `ckptaudit.check`.

    Of a bad file the finding must have the severity `level`, and all of `says` in its message.
    """

    rule: str
    kind: Literal["bad", "good"]
    name: str
    build: Callable[[Path], Path]
    level: str = ""
    says: tuple[str, ...] = ()
    options: Mapping[str, Any] = field(default_factory=dict)

    @property
    def id(self) -> str:
        """The name of the test."""
        return f"{self.rule}: {self.kind}: {self.name}"


def bad(rule: str, level: str, name: str, build: Callable[[Path], Path], *says: str, **options: Any) -> Case:
    """A file that fires the rule."""
    return Case(rule, "bad", name, build, level, says, options)


def good(rule: str, name: str, build: Callable[[Path], Path], **options: Any) -> Case:
    """A file that looks like a bad one, and is none."""
    return Case(rule, "good", name, build, options=options)


def fixture(name: str) -> Callable[[Path], Path]:
    """A committed fixture."""
    return lambda folder: FIXTURES / name
