"""From paths to a Report: gathers the facts that the chosen rules ask for, and no others, file by file.

A bad file is a finding and never stops the others: what could not be read at all goes through the same rules
as a checkpoint that is empty but for the problem that says why.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import cached_property, lru_cache
from time import perf_counter
from typing import TYPE_CHECKING

from ckptaudit import parallel
from ckptaudit.audit import Coverage, Facts, FileReport, Report, Rule, Severity, audit
from ckptaudit.errors import CkptAuditError
from ckptaudit.isolated import SECONDS
from ckptaudit.limits import Limits
from ckptaudit.locate import read_at
from ckptaudit.model import Checkpoint, Problem
from ckptaudit.text import dotted

if TYPE_CHECKING:
    from ckptaudit.blueprint import Blueprint
    from ckptaudit.match import Match
    from ckptaudit.match.mapping import Mapped
    from ckptaudit.readers.checksums import Checksums
    from ckptaudit.saved import Saved
    from ckptaudit.summary import Group, Held
    from ckptaudit.values import Copies


@dataclass(frozen=True, slots=True)
class Settings:
    """How one file is to be audited: `maps` rename its keys before they are compared with `against`."""

    rules: tuple[Rule, ...]
    against: str | None = None
    maps: tuple[Mapped, ...] = ()
    expected_device: str | None = None
    deep: bool = False
    limits: Limits = field(default_factory=Limits)
    seconds: float = SECONDS
    folder: str = ""  # where the code behind `against` is started, "" for here


class AbsentError(Exception):
    """A fact that cannot be had, or was not asked for; its text is the reason."""


class References:
    """Blueprints by their reference: each is loaded once, however many files are compared with it."""

    def __init__(self) -> None:
        self._known: dict[str, Blueprint | CkptAuditError] = {}

    def find(self, reference: str, settings: Settings) -> Blueprint:
        """The blueprint. Raises CkptAuditError where it cannot be had, each time."""
        from ckptaudit.blueprint import load

        if reference not in self._known:
            try:
                self._known[reference] = load(reference, settings.limits, settings.seconds, settings.folder)
            except CkptAuditError as error:
                self._known[reference] = error
        found = self._known[reference]
        if isinstance(found, CkptAuditError):
            raise found
        return found

    def prepare(self, settings: Settings) -> None:
        """Load the reference of `settings` now, so that forked processes need not, each for itself."""
        with suppress(CkptAuditError):
            if settings.against is not None and "match" in _asked(settings.rules):
                self.find(settings.against, settings)


class _Gatherer:
    """The facts of one checkpoint, each worked out when a rule asks for it. AbsentError says why not."""

    def __init__(self, checkpoint: Checkpoint, settings: Settings, references: References) -> None:
        self.checkpoint = checkpoint
        self._settings = settings
        self._references = references

    @cached_property
    def held(self) -> Held:
        from ckptaudit.summary import members

        return members(self.checkpoint)

    @cached_property
    def tied(self) -> tuple[Group, ...]:
        from ckptaudit.summary import ties

        return ties(self.checkpoint)

    @cached_property
    def overlapping(self) -> tuple[Group, ...]:
        from ckptaudit.summary import overlaps

        return overlaps(self.checkpoint)

    @cached_property
    def _blueprint(self) -> Blueprint | CkptAuditError:
        if self._settings.against is None:
            raise AbsentError("use --against REF")
        try:
            return self._references.find(self._settings.against, self._settings)
        except CkptAuditError as error:
            return error

    @cached_property
    def comparison_fault(self) -> str | None:
        blueprint = self._blueprint
        if isinstance(blueprint, CkptAuditError):
            return str(blueprint)
        try:
            self.own  # noqa: B018  # only whether it can be had
        except AbsentError as reason:
            # What could not be read completely has a finding of its own.
            return None if is_incomplete(self.checkpoint) else str(reason)
        return None

    @property
    def expected_device(self) -> str | None:
        return self._settings.expected_device

    @cached_property
    def own(self) -> Saved:
        from ckptaudit.saved import saved

        self._want_whole()
        try:
            return saved(self.checkpoint)
        except CkptAuditError as error:
            raise AbsentError(f"{error.reason}; {error.remedy}") from None

    @cached_property
    def match(self) -> Match:
        from ckptaudit.match import match

        blueprint = self._blueprint
        if isinstance(blueprint, CkptAuditError):
            raise AbsentError("the reference cannot be had")
        self._want_whole()
        return match(self.checkpoint, self.own, blueprint, self._settings.maps)

    @cached_property
    def copies(self) -> Copies:
        from ckptaudit.values import compare_copies

        return compare_copies(self.checkpoint, self.match.diverged)

    @cached_property
    def checksums(self) -> Checksums:
        from ckptaudit.readers.checksums import compare

        if not self._settings.deep:
            raise AbsentError("use --deep")
        try:
            found = compare(self.checkpoint, self._settings.limits)
        except CkptAuditError as error:
            raise AbsentError(error.reason) from None
        if found is None:
            raise AbsentError("its format has no checksums")
        return found

    def _want_whole(self) -> None:
        if is_incomplete(self.checkpoint):
            raise AbsentError("the file could not be read completely")


FACTS = (
    *("match", "own", "copies", "held", "tied", "overlapping", "checksums"),
    *("comparison_fault", "expected_device", "checkpoint"),
)


def gather(checkpoint: Checkpoint, settings: Settings, references: References) -> Facts:
    """The facts that the rules of `settings` need or want, and why others are absent."""
    asked = _asked(settings.rules)
    if "match" in asked:
        asked |= {"comparison_fault"}  # that keys could not be compared is told, whichever rules are chosen
    gatherer = _Gatherer(checkpoint, settings, references)
    known: dict[str, object] = {}
    absent: dict[str, str] = {}
    for name in FACTS:
        if name in asked:
            try:
                known[name] = getattr(gatherer, name)
            except AbsentError as reason:
                absent[name] = str(reason)
    return Facts(known, absent)


@lru_cache(256)
def _asked(rules: tuple[Rule, ...]) -> frozenset[str]:
    return frozenset(name for rule in rules for name in (*rule.needs, *rule.wants))


def audit_file(path: str, settings: Settings, references: References, root: str = "") -> FileReport:
    """Audit what `path` names. `root` is the folder that the file's identity in a baseline counts from."""
    try:
        checkpoint = read_at(path, settings.limits)
    except CkptAuditError as error:
        told = ": ".join(part for part in (error.where, error.reason) if part)
        checkpoint = _nothing(path, error.code, f"{told}; {error.remedy}" if error.remedy else told)
    except Exception as error:
        checkpoint = _failed(path, error)
    try:
        return _judge(path, checkpoint, settings, references, root)
    except Exception as error:
        return _judge(path, _failed(path, error), replace(settings, against=None), references, root)


def _judge(
    path: str, checkpoint: Checkpoint, settings: Settings, references: References, root: str
) -> FileReport:
    facts = gather(checkpoint, settings, references)
    rules, unread = _applicable(checkpoint, settings.rules)
    findings, skipped = audit(rules, facts)
    fault = facts.known.get("comparison_fault")
    match: Match | None = facts.known.get("match")  # type: ignore[assignment]
    return FileReport(
        path=path,
        format=checkpoint.format or None,
        audited=fault is None and not is_incomplete(checkpoint),
        findings=findings,
        skipped=skipped | unread,
        identity=identity(path, root),
        coverage=None if match is None else _coverage(match),
        picked=_picked(checkpoint, match),
        weights_only=checkpoint.weights_only,
        to_allow=checkpoint.to_allow,
        refusals=checkpoint.refusals,
    )


def _applicable(checkpoint: Checkpoint, rules: tuple[Rule, ...]) -> tuple[tuple[Rule, ...], dict[str, str]]:
    """The rules that can say something, and the others: of a file that could not be read only why not."""
    if checkpoint.format:
        return rules, {}
    codes = {problem.code for problem in checkpoint.problems} | {"not-compared"}
    left = {rule.name: "the file could not be read" for rule in rules if rule.name not in codes}
    return tuple(rule for rule in rules if rule.name in codes), left


def identity(path: str, root: str) -> str:
    """`path` seen from the folder `root`, with slashes: the same wherever the call is made from."""
    if not os.path.isabs(path) and not root:
        return os.path.normpath(path).replace(os.sep, "/")
    try:
        return os.path.relpath(path, root or os.curdir).replace(os.sep, "/")
    except ValueError:  # another drive
        return path.replace(os.sep, "/")


def is_incomplete(checkpoint: Checkpoint) -> bool:
    """Whether something of the file could not be audited."""
    return any(problem.incomplete for problem in checkpoint.problems)


def _nothing(path: str, code: str, detail: str) -> Checkpoint:
    """A checkpoint of which nothing is known but what kept us from reading it."""
    return Checkpoint(path, "", (), {}, {}, problems=(Problem(code, detail, incomplete=True),))


def _failed(path: str, error: Exception) -> Checkpoint:
    told = f"internal error ({type(error).__name__}: {error}); please report it, with the file"
    return _nothing(path, "internal-error", told)


def _picked(checkpoint: Checkpoint, match: Match | None) -> str | None:
    if match is None or len(checkpoint.state_dicts) < 2 or not match.own.root:
        return None
    return dotted(match.own.root)


def _coverage(match: Match) -> Coverage:
    """What of the reference the file holds in the right shape; tied memory counts once."""
    from ckptaudit.summary import is_statistic

    expected = match.blueprint.tensors
    repeats = {key for group in match.blueprint.ties for key in group[1:]}
    first = {key: group[0] for group in match.blueprint.ties for key in group}
    held = {first.get(key, key) for key in match.fitting} & expected.keys()
    whole = [key for key in expected if key not in repeats]
    return Coverage(
        reference=match.blueprint.reference,
        tensors=len(held),
        of_tensors=len(whole),
        parameters=sum(expected[key].numel for key in held if not is_statistic(key)),
        of_parameters=sum(expected[key].numel for key in whole if not is_statistic(key)),
        nbytes=sum(expected[key].nbytes for key in held),
        of_nbytes=sum(expected[key].nbytes for key in whole),
    )


def run(
    files: Sequence[tuple[str, Settings]],
    *,
    fail_on: Severity = Severity.ERROR,
    left_out: Iterable[Rule] = (),
    root: str = "",
    each: Callable[[FileReport], FileReport] = lambda report: report,
    jobs: int = 1,
) -> Report:
    """Audit every file with its own settings, in up to `jobs` processes.

    `each` may change a report, or count it, once it is there.
    """
    start = perf_counter()
    references = References()
    used = dict.fromkeys(settings.rules for _, settings in files)
    rules = {rule.name: rule for chosen in used for rule in chosen}
    if jobs > 1:
        for _, settings in files:
            references.prepare(settings)

    def work(index: int) -> FileReport:
        path, settings = files[index]
        return audit_file(path, settings, references, root)

    reports = tuple(map(each, parallel.each(work, len(files), jobs)))
    rest = tuple(rule for rule in left_out if rule.name not in rules)
    return Report(reports, tuple(rules.values()), rest, fail_on, perf_counter() - start)
