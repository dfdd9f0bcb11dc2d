"""Checkpoints as tests: the fixture `ckptaudit`, and `--ckptaudit GLOB`, which makes a test of each file.

pytest imports this module in every run wherever ckptaudit is installed, so the rest of ckptaudit is imported
only once a checkpoint is to be looked at.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from glob import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from ckptaudit.audit import FileReport, Report
    from ckptaudit.config import Config
    from ckptaudit.verify import Comparison

_NAME = "ckptaudit"
_NAMED = f"::{_NAME}"  # ends the node id of a checkpoint
_PathLike = str | os.PathLike[str]


class Auditor:
    """What the fixture gives. Options are those of `ckptaudit.check`; no pyproject.toml is read.

    A path is a file, a folder (all checkpoints below it), a glob, or `PATH::NAME`; relative ones count from
    the current folder.
    """

    def check(self, *paths: _PathLike, **options: Any) -> Report:
        """Audit and judge nothing: `ckptaudit.check` for paths of any kind."""
        from ckptaudit.gate import check

        if options.get("against") is not None:
            options["against"] = os.fspath(options["against"])
        return check(*(os.fspath(path) for path in paths), **options)

    def clean(self, path: _PathLike, *, fail_on: str = "warning", **options: Any) -> Report:
        """Fail the test unless `path` was audited and nothing found in it is as bad as `fail_on`."""
        __tracebackhide__ = True
        report = self.check(path, fail_on=fail_on, **options)
        return _settle(report, report)

    def matches(
        self,
        path: _PathLike,
        reference: _PathLike,
        *,
        map: Iterable[str] = (),
        fail_on: str = "error",
        **options: Any,
    ) -> Report:
        """Fail the test unless `path` has the keys of `reference`: only rules of the group `keys` judge.

        `reference` is another checkpoint, a file that `ckptaudit lock` wrote, or `module:pkg.mod:factory`.
        It also fails where something could not be audited or compared.
        """
        __tracebackhide__ = True
        report = self.check(path, against=reference, map=map, fail_on=fail_on, **options)
        if not any(rule.group == "keys" for rule in report.rules):
            pytest.fail("no rule of the group keys was chosen: nothing was compared", pytrace=False)
        return _settle(report, _about_keys(report))

    def assert_outputs_equal(
        self, path: _PathLike, record: _PathLike, *, allow_close: bool = False, **options: Any
    ) -> Comparison:
        """Fail the test unless `path` gives the outputs in `record`, which `ckptaudit record` wrote.

        The model runs in fresh processes; `options` are those of `ckptaudit.verify`: `model="pkg.mod:make"`
        where the file does not tell the whole model. On another machine outputs can be close and no more:
        `allow_close` lets them be. Needs torch.
        """
        from ckptaudit.reports.verify import render
        from ckptaudit.verify import verify

        __tracebackhide__ = True
        found = verify(os.fspath(path), record=os.fspath(record), **options)
        if not (found.equal or (allow_close and found.close)):
            pytest.fail(render("text", found).rstrip(), pytrace=False)
        return found


@pytest.fixture(scope="session", name=_NAME)
def auditor() -> Auditor:
    """Audits checkpoints: `.clean`, `.matches`, `.assert_outputs_equal`; `.check` only reports."""
    return Auditor()


def _settle(report: Report, judged: Report) -> Report:
    """`report` where `judged`, a part of it, is fine; else the test fails with that."""
    from ckptaudit.reports.check import render

    __tracebackhide__ = True
    if judged.exit_code:
        pytest.fail(render("text", judged).rstrip(), pytrace=False)
    return report


def _about_keys(report: Report) -> Report:
    """The report with what was found about keys, and, of files that were not audited, all that says why."""
    keys = {rule.name for rule in report.rules if rule.group == "keys"}

    def narrow(file: FileReport) -> FileReport:
        found = (finding for finding in file.findings if finding.rule in keys)
        return replace(file, findings=tuple(found)) if file.audited else file

    return replace(report, files=tuple(map(narrow, report.files)))


@dataclass(frozen=True, slots=True)
class _Plan:
    """The files that become items where pytest comes across them, those that do wherever they lie, and how
    they are audited."""

    wanted: frozenset[Path]
    added: tuple[Path, ...]
    settings: Config


_PLAN = pytest.StashKey[_Plan]()


def pytest_addoption(parser: pytest.Parser) -> None:
    """`--ckptaudit GLOB`, and the setting of that name."""
    told = "audit checkpoints, each as a test: files, folders or globs"
    parser.getgroup(_NAME, "audit of checkpoints").addoption(
        "--ckptaudit", action="append", default=[], metavar="GLOB", help=f"{told} (several times for several)"
    )
    parser.addini(_NAME, f"{told}, from the root folder, where no path is given", type="linelist", default=[])


# xdist's hook of this name starts the workers: it comes last.
@pytest.hookimpl(tryfirst=True)
def pytest_sessionstart(session: pytest.Session) -> None:
    """Find out which files are asked for.

    Raises UsageError where a glob matches none: silence is not a pass. Also where the settings make no sense.
    """
    config = session.config
    base = config.inipath.parent if config.inipath else config.rootpath
    globs = [_absolute(config.invocation_params.dir, each) for each in config.getoption("--ckptaudit")]
    lasting = [_absolute(base, each) for each in config.getini(_NAME)]
    if _as_testpaths(config):
        globs += lasting
    # A worker of xdist gets these options and the paths, and cannot tell that there was no path at first.
    config.option.ckptaudit = globs
    named = _named(config)
    if globs or lasting or named:
        found = [file for each in globs for file in _find(each)]
        maybe = [file for each in lasting for file in _files(each)]
        added = () if named else _without_shards(dict.fromkeys(found))
        wanted = frozenset((*named, *_without_shards(dict.fromkeys((*found, *maybe)))))
        config.stash[_PLAN] = _Plan(wanted, tuple(added), _settings(config))


def _absolute(folder: Path, pattern: str) -> str:
    return os.path.normpath(os.path.join(escape(str(folder)), os.path.expanduser(pattern)))


def _as_testpaths(config: pytest.Config) -> bool:
    """Whether the globs of the settings count: as `testpaths`, in the root folder, where no path is given."""
    no_path = config.args_source is not pytest.Config.ArgsSource.ARGS
    return no_path and config.invocation_params.dir == config.rootpath


def _named(config: pytest.Config) -> list[Path]:
    """Files that are given by the node id of their item."""
    ends = [arg.removesuffix(_NAMED) for arg in config.args if arg.endswith(_NAMED)]
    return [Path(os.path.abspath(config.invocation_params.dir / each)) for each in ends]


def _find(pattern: str) -> list[Path]:
    from ckptaudit.reports.check.wording import line

    files = _files(pattern)
    if not files:
        raise pytest.UsageError(line(f"--ckptaudit {pattern}: no checkpoint there"))
    return files


def _files(pattern: str) -> list[Path]:
    from ckptaudit.errors import CkptAuditError
    from ckptaudit.gate import Request, expand_paths
    from ckptaudit.reports.check.wording import line

    try:
        paths = expand_paths(Request((pattern,)))
    except CkptAuditError as error:
        raise pytest.UsageError(line(f"--ckptaudit {error}")) from None
    return [Path(path) for path in paths if os.path.isfile(path)]


def _without_shards(files: Iterable[Path]) -> list[Path]:
    """`files` but for the shards of those indexes that are among them: an index stands for its shards."""
    from ckptaudit.locate import without_shards

    return [Path(path) for path in without_shards(str(file) for file in files)]


def _settings(config: pytest.Config) -> Config:
    """What the nearest pyproject.toml says, from the root folder upwards."""
    from ckptaudit.config import Config, find, load
    from ckptaudit.errors import CkptAuditError
    from ckptaudit.reports.check.wording import line

    try:
        path = find(str(config.rootpath))
        return load(path) if path else Config()
    except CkptAuditError as error:
        raise pytest.UsageError(line(str(error))) from None


def pytest_collect_file(file_path: Path, parent: pytest.Collector) -> CheckpointFile | None:
    """A checkpoint that is asked for, where pytest comes across it."""
    plan = parent.config.stash.get(_PLAN, None)
    return _collector(parent, file_path) if plan is not None and file_path in plan.wanted else None


# First, so that -k, --deselect and their like see all items.
@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(
    session: pytest.Session, config: pytest.Config, items: list[pytest.Item]
) -> None:
    """Add the checkpoints that pytest did not come across."""
    plan = config.stash.get(_PLAN, None)
    if plan is not None:
        known = {item.path for item in items if isinstance(item, CheckpointItem)}
        for path in plan.added:
            if path not in known:
                items += session.genitems(_collector(session, path))


def _collector(parent: pytest.Collector, path: Path) -> CheckpointFile:
    """The node of a file, its id the path from the root folder: escaped, for it is printed everywhere."""
    from ckptaudit.reports.check.wording import line

    shown = line(_relative(path, parent.config.rootpath).replace(os.sep, "/"))
    shown = shown.replace("::", r"\x3a\x3a")  # pytest would take the id apart there
    node: CheckpointFile = CheckpointFile.from_parent(parent, path=path, name=shown, nodeid=shown)
    return node


def _relative(path: Path, folder: Path) -> str:
    try:
        return os.path.relpath(path, folder)
    except ValueError:  # another drive
        return str(path)


class CheckpointFile(pytest.File):
    """A checkpoint, with one item in it."""

    def collect(self) -> Iterator[pytest.Item]:
        """The audit of the file."""
        yield CheckpointItem.from_parent(self, name=_NAME)


class CheckpointItem(pytest.Item):
    """The audit of one checkpoint as `ckptaudit check` makes it, with the settings of the project."""

    def runtest(self) -> None:
        """Audit the file; fails with the report."""
        from ckptaudit.errors import CkptAuditError
        from ckptaudit.gate import Request, perform
        from ckptaudit.reports.check.wording import line

        settings = self.config.stash[_PLAN].settings
        path = _relative(self.path, Path.cwd())
        try:
            report = perform(Request((path,), config=settings), [path])
        except CkptAuditError as error:
            pytest.fail(line(str(error)), pytrace=False)
        _settle(report, report)

    def reportinfo(self) -> tuple[Path, None, str]:
        """Where the item is: what pytest prints of it, so in the escaped form."""
        assert self.parent is not None
        return self.config.rootpath / self.parent.nodeid, None, self.parent.nodeid
