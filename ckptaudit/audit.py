"""What a rule is, what it finds, and how rules are run: this module knows none of them by name.

A rule is a function whose parameters are the facts that it needs, the way pytest injects fixtures. Where a
fact was not gathered, the rule is reported as skipped, with the reason: silence is not a pass.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from enum import IntEnum
from functools import lru_cache
from hashlib import sha256
from typing import Any, Final, Literal

from ckptaudit.model import Checkpoint, Problem, Span

Group = Literal["trust", "integrity", "structure", "keys", "values"]
GROUPS: Final[tuple[Group, ...]] = ("trust", "integrity", "structure", "keys", "values")
_DEEPEST = 8  # levels of a finding's data that its fingerprint is made of
NOTHING: Final[Mapping[str, Any]] = {}  # no proxy: reports travel between processes


class Severity(IntEnum):
    """SARIF's levels (SARIF 2.1.0, section 3.27.10), so that worse compares as greater."""

    NOTE = 1
    WARNING = 2
    ERROR = 3

    def __str__(self) -> str:
        return self.name.lower()


@dataclass(frozen=True, slots=True)
class Finding:
    """One cause. `keys` are the tensors, names or members that it is about, `span` the first place of it.

    `message` is one sentence, `fix` what to do about it, `data` the facts for programs: JSON values only.
    All can hold text out of a hostile file: escape them before printing.
    """

    rule: str
    severity: Severity
    message: str
    keys: tuple[str, ...] = ()
    span: Span | None = None
    data: Mapping[str, Any] = field(default_factory=lambda: NOTHING)
    fix: str | None = None

    def fingerprint(self, path: str, occurrence: int = 0) -> str:
        """32 hexadecimal digits that stay while the same thing is wrong with the file called `path`.

        Neither byte offsets nor counts go into it; names do, shapes and dtypes in `data`, and the severity:
        what gets worse is new.
        """
        about = (*self.keys, *_words(self.data)) or (_without_numbers(self.message),)
        parts = (self.rule, str(self.severity), path, *about, *([str(occurrence)] if occurrence else []))
        return sha256("\0".join(parts).encode("utf-8", "surrogatepass")).hexdigest()[:32]


def _words(data: Any, depth: int = _DEEPEST) -> Iterator[str]:
    """The names in a finding's data, and the numbers in lists: those are shapes, a number alone a count."""
    if isinstance(data, str):
        yield data
    elif depth and isinstance(data, Mapping):
        for name, value in data.items():
            if name != "details":  # sentences, with byte offsets in them
                yield str(name)
                yield from _words(value, depth - 1)
    elif depth and isinstance(data, list | tuple):
        for value in data:
            yield from [str(value)] if isinstance(value, int) else _words(value, depth - 1)


def _without_numbers(message: str) -> str:
    return "".join("" if char.isdigit() or char in ",." else char for char in message)


def error(message: str, keys: Iterable[str] = (), **more: Any) -> Finding:
    """What must not be merged; `audit` puts the name of the rule in."""
    return Finding("", Severity.ERROR, message, tuple(keys), **more)


def warning(message: str, keys: Iterable[str] = (), **more: Any) -> Finding:
    """What is probably not meant so."""
    return Finding("", Severity.WARNING, message, tuple(keys), **more)


def note(message: str, keys: Iterable[str] = (), **more: Any) -> Finding:
    """What is worth knowing, and no fault."""
    return Finding("", Severity.NOTE, message, tuple(keys), **more)


_SHOWN = 20  # details of one cause that are kept
_QUOTED = re.compile(r"'[^']*'|\"[^\"]*\"|\d[\d,.]*")


def told(checkpoint: Checkpoint, code: str, severity: Severity, fix: str | None = None) -> Iterator[Finding]:
    """What readers noted under the name of this rule: one finding for all notes that differ in names only."""
    alike: dict[str, list[Problem]] = {}
    for problem in checkpoint.problems:
        if problem.code == code:
            alike.setdefault(_QUOTED.sub("", problem.detail), []).append(problem)
    for problems in alike.values():
        yield _as_one(problems, severity, fix)


def _as_one(problems: list[Problem], severity: Severity, fix: str | None) -> Finding:
    first, more = problems[0], len(problems) - 1
    keys = tuple(dict.fromkeys(key for problem in problems for key in problem.keys))
    data = {"details": [problem.detail for problem in problems[:_SHOWN]], "count": len(problems)}
    message = f"{first.detail}; and {more:,} more like it" if more else first.detail
    return Finding("", severity, message, keys, first.span, data if more else NOTHING, fix)


Check = Callable[..., Iterator[Finding]]


@dataclass(frozen=True, slots=True, eq=False)
class Rule:
    """A check with its name and its page. `needs` are the facts that it cannot do without, `wants` others."""

    name: str
    group: Group
    check: Check
    needs: tuple[str, ...]
    wants: tuple[str, ...]
    page: str

    @property
    def summary(self) -> str:
        """The first line of the page."""
        return self.page.partition("\n")[0]


def rule(group: Group) -> Callable[[Check], Rule]:
    """Make a rule of a function: its name, parameters and docstring are those of the rule.

    A parameter with a default is a fact that the rule can do without.
    """

    def make(check: Check) -> Rule:
        parameters = inspect.signature(check).parameters.values()
        return Rule(
            name=check.__name__.replace("_", "-"),
            group=group,
            check=check,
            needs=tuple(each.name for each in parameters if each.default is each.empty),
            wants=tuple(each.name for each in parameters if each.default is not each.empty),
            page=inspect.cleandoc(check.__doc__ or ""),
        )

    return make


@dataclass(frozen=True, slots=True)
class Facts:
    """What is known of one checkpoint, by the names that rules ask for; `absent` says why a fact is not."""

    known: Mapping[str, object]
    absent: Mapping[str, str] = field(default_factory=lambda: NOTHING)


def audit(rules: tuple[Rule, ...], facts: Facts) -> tuple[tuple[Finding, ...], dict[str, str]]:
    """Run `rules` on one checkpoint: the findings, worst first, and the rules that were skipped, and why."""
    found: list[Finding] = []
    known = facts.known
    ready, lacking = _plan(rules, tuple(known))
    for each, needs, wants in ready:
        given = [known[name] for name in needs]
        findings = (
            each.check(*given, **{name: known[name] for name in wants}) if wants else each.check(*given)
        )
        found += [replace(finding, rule=each.name) for finding in findings]
    skipped = {name: facts.absent.get(fact, f"{fact} was not gathered") for name, fact in lacking.items()}
    # Sorting keeps the order of rules among findings of one severity.
    return tuple(sorted(found, key=lambda finding: -finding.severity)), skipped


@lru_cache(256)
def _plan(
    rules: tuple[Rule, ...], known: tuple[str, ...]
) -> tuple[list[tuple[Rule, tuple[str, ...], tuple[str, ...]]], dict[str, str]]:
    """Rules that can run with these facts, each with the facts that it gets; and what the others lack.

    Thousands of files know the same facts: what follows from their names is worked out once.
    """
    ready = []
    lacking = {}
    for rule in rules:
        missing = next((name for name in rule.needs if name not in known), None)
        if missing is None:
            ready.append((rule, rule.needs, tuple(name for name in rule.wants if name in known)))
        else:
            lacking[rule.name] = missing
    return ready, lacking


@dataclass(frozen=True, slots=True)
class Coverage:
    """How much of what a reference expects a file holds in the right shape: tensors, parameters, bytes."""

    reference: str
    tensors: int
    of_tensors: int
    parameters: int
    of_parameters: int
    nbytes: int
    of_nbytes: int


@dataclass(frozen=True, slots=True)
class FileReport:
    """What was found in one checkpoint. `audited` is False where something in it could not be looked at.

    `accepted` are findings that a baseline lets pass. `picked` names the state dict that was looked at
    where the file holds several. `identity` is the path that fingerprints are made of: the same wherever the
    call is made from.
    """

    path: str
    format: str | None
    audited: bool
    findings: tuple[Finding, ...]
    skipped: Mapping[str, str] = field(default_factory=lambda: NOTHING)
    identity: str = ""
    accepted: tuple[Finding, ...] = ()
    coverage: Coverage | None = None
    picked: str | None = None
    weights_only: bool | None = None
    to_allow: tuple[str, ...] = ()
    refusals: tuple[str, ...] = ()

    def fingerprints(self, findings: Iterable[Finding]) -> Iterator[str]:
        """The fingerprint of each of `findings`; those that read alike are counted apart."""
        seen: dict[str, int] = {}
        for finding in findings:
            plain = finding.fingerprint(self.identity or self.path)
            again = seen.get(plain, 0)
            seen[plain] = again + 1
            yield finding.fingerprint(self.identity or self.path, again) if again else plain


@dataclass(frozen=True, slots=True)
class Report:
    """What one call of `check` found. `rules` are those that were chosen, `left_out` those that were not.

    `fail_on` is the severity from which on a finding fails the call, and `seconds` what it took.
    """

    files: tuple[FileReport, ...]
    rules: tuple[Rule, ...]
    left_out: tuple[Rule, ...] = ()
    fail_on: Severity = Severity.ERROR
    seconds: float = 0.0

    def count(self, severity: Severity) -> int:
        """Findings of this severity in all files."""
        return sum(finding.severity == severity for file in self.files for finding in file.findings)

    @property
    def not_audited(self) -> tuple[FileReport, ...]:
        """The files in which something could not be looked at."""
        return tuple(file for file in self.files if not file.audited)

    @property
    def exit_code(self) -> int:
        """0 clean, 1 findings at or above `fail_on`, 3 something could not be audited."""
        if self.not_audited:
            return 3
        return int(any(finding.severity >= self.fail_on for file in self.files for finding in file.findings))
