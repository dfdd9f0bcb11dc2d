"""`check` as a whole: which files, with which settings, against which baseline; one call gives one Report.

`ckptaudit.check(...)` is `check`. The command line and the pytest plugin call the same function.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from difflib import get_close_matches

from ckptaudit import baseline as baselines
from ckptaudit.audit import GROUPS, FileReport, Report, Rule, Severity
from ckptaudit.config import NAME, Config, ConfigError, Options, names
from ckptaudit.errors import CkptAuditError
from ckptaudit.isolated import SECONDS
from ckptaudit.limits import Limits
from ckptaudit.locate import expand
from ckptaudit.pipeline import Settings, run
from ckptaudit.rules import RULES, choose


class UsageError(CkptAuditError):
    """What was asked for makes no sense, whatever the files hold."""


@dataclass(frozen=True, slots=True)
class Request:
    """What was asked for in one call: it counts for more than what `config` says.

    `fail_on` is "note", "warning" or "error"; `baseline` a file of accepted findings, which is written anew
    where `update_baseline` is set; `seconds` what the code behind `module:` may take; `jobs` the number of
    processes that many files are divided among.
    """

    paths: tuple[str, ...]
    options: Options = field(default_factory=Options)
    config: Config = field(default_factory=Config)
    fail_on: str | None = None
    baseline: str | None = None
    update_baseline: bool = False
    limits: Mapping[str, int] = field(default_factory=dict)
    seconds: float = SECONDS
    jobs: int = 1


def check(
    *paths: str | os.PathLike[str],
    against: str | os.PathLike[str] | None = None,
    map: Iterable[str] = (),
    select: Iterable[str] = (),
    ignore: Iterable[str] = (),
    expect_device: str | None = None,
    deep: bool = False,
    fail_on: str = "error",
    baseline: str | None = None,
    limits: Limits | None = None,
    seconds: float = SECONDS,
) -> Report:
    """Audit checkpoints; the options are those of `ckptaudit check`, and no pyproject.toml is read.

    Raises CkptAuditError where the call makes no sense; whatever is wrong with a file is in the report.
    """
    reference = None if against is None else os.fspath(against)
    options = Options(tuple(select) or None, tuple(ignore), reference, tuple(map), expect_device, deep)
    return perform(
        Request(
            tuple(os.fspath(path) for path in paths),
            options,
            fail_on=fail_on,
            baseline=baseline,
            limits=asdict(limits) if limits else {},
            seconds=seconds,
        )
    )


Each = Callable[[FileReport], None]


def perform(request: Request, files: list[str] | None = None, each: Each = lambda report: None) -> Report:
    """Audit what is asked for; `files` are the paths where the caller has expanded them already.

    `each` is told of every file as soon as it is done. Raises CkptAuditError as `check` does.
    """
    files = expand_paths(request) if files is None else files
    config, plans = request.config, _Plans(request)
    settings = [(path, plans.settings(path)) for path in files]  # all of them before the first file is opened
    path = request.baseline or (config.baseline and config.inside(config.baseline))
    if request.update_baseline and not path:
        raise UsageError("--update-baseline", "no baseline to write", remedy="name one: --baseline FILE")
    accepted = frozenset() if request.update_baseline or not path else baselines.load(path)

    def settle(report: FileReport) -> FileReport:
        each(report)
        return baselines.accept(report, accepted)

    root = config.folder or (os.path.dirname(os.path.abspath(path)) if path else "")
    severity = _severity(request.fail_on or config.fail_on or "error")
    report = run(
        settings,
        fail_on=severity,
        left_out=plans.left_out,
        root=root,
        each=settle,
        jobs=request.jobs,
    )
    if request.update_baseline and path:
        accepted = baselines.update(path, report)
        report = replace(report, files=tuple(baselines.accept(file, accepted) for file in report.files))
    return report


def expand_paths(request: Request) -> list[str]:
    """The files that are asked for. Raises UsageError where neither the call nor the settings name any."""
    paths = request.paths or tuple(map(request.config.inside, request.config.paths))
    if not paths:
        remedy = "name files, folders or globs, or set paths under [tool.ckptaudit]"
        raise UsageError("check", "no PATH to audit", remedy=remedy)
    return expand(paths)


class _Plans:
    """The settings of each file, rules chosen once for every combination that occurs."""

    def __init__(self, request: Request) -> None:
        self._request = request
        self._known: dict[Options, Settings] = {}
        self._left_out: dict[str, Rule] = {}
        self._limits = _limits(request)
        for name in (*names(request.config), *(request.options.select or ()), *request.options.ignore):
            check_name(name)

    @property
    def left_out(self) -> Iterator[Rule]:
        """Rules that were left out for some file."""
        yield from self._left_out.values()

    def settings(self, path: str) -> Settings:
        """What applies to one file."""
        options = self._request.options.over(self._request.config.options_for(path))
        if options not in self._known:
            self._known[options] = self._made(options)
        return self._known[options]

    def _made(self, options: Options) -> Settings:
        from ckptaudit.match.mapping import parse

        chosen, left_out = choose(options.select or (), options.ignore)
        if not chosen:
            remedy = f"ignored are {', '.join(options.ignore)}" if options.ignore else ""
            raise UsageError("select", "no rule is left: nothing would be looked at", remedy=remedy)
        self._left_out.update({rule.name: rule for rule in left_out})
        try:
            maps = tuple(parse(text) for text in options.map)
        except ValueError as error:
            raise UsageError("map", str(error)) from None
        if options.expect_device == "":
            raise UsageError("expect-device", "no device", remedy="name one: cpu, cuda, cuda:0")
        if maps and options.against is None:
            raise UsageError("map", "nothing to compare the renamed keys with", remedy="add --against REF")
        return Settings(
            rules=chosen,
            against=options.against,
            maps=maps,
            expected_device=options.expect_device,
            deep=bool(options.deep),
            limits=self._limits,
            seconds=self._request.seconds,
            folder="" if self._request.options.against else self._request.config.folder,
        )


def _limits(request: Request) -> Limits:
    unknown = [name for name in request.config.limits if name not in {each.name for each in fields(Limits)}]
    if unknown:
        raise ConfigError(os.path.join(request.config.folder, NAME), f"{unknown[0]!r} is no limit")
    return Limits(**{**request.config.limits, **request.limits})


def check_name(name: str) -> None:
    """Raise UsageError where `name` is neither a rule nor a group."""
    if name not in RULES and name not in GROUPS:
        close = get_close_matches(name, (*RULES, *GROUPS), 3)
        remedy = f"did you mean {' or '.join(close)}?" if close else "ckptaudit rules lists them"
        raise UsageError(name, "no rule or group of this name", remedy=remedy)


def _severity(name: str) -> Severity:
    try:
        return Severity[name.upper()]
    except KeyError:
        raise UsageError(f"fail-on {name!r}", "it is note, warning or error") from None
