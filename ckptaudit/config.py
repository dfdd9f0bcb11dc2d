"""`[tool.ckptaudit]` in pyproject.toml: what a team has agreed on, for all checkpoints and for some.

Paths and globs in it count from its own folder. In globs, `*` takes slashes too.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, fields
from fnmatch import fnmatchcase
from typing import Any

from ckptaudit.errors import CkptAuditError

NAME = "pyproject.toml"
_TABLE = "ckptaudit"
_PER_PATH = "per-path"
_OF_ALL = ("paths", "fail-on", "baseline", "limits", _PER_PATH)  # beside the options


class ConfigError(CkptAuditError):
    """The settings of a project make no sense: wrong usage, not a bad checkpoint."""


@dataclass(frozen=True, slots=True)
class Options:
    """What can be set for all checkpoints or for some; None where it is not set."""

    select: tuple[str, ...] | None = None
    ignore: tuple[str, ...] = ()
    against: str | None = None
    map: tuple[str, ...] = ()
    expect_device: str | None = None
    deep: bool | None = None

    def over(self, below: Options) -> Options:
        """These options where they are set, those of `below` where not.

        What is ignored adds up, but for what is selected here by the same name.
        """
        return Options(
            select=below.select if self.select is None else self.select,
            ignore=(*(name for name in below.ignore if name not in (self.select or ())), *self.ignore),
            against=below.against if self.against is None else self.against,
            map=self.map or below.map,
            expect_device=below.expect_device if self.expect_device is None else self.expect_device,
            deep=below.deep if self.deep is None else self.deep,
        )


@dataclass(frozen=True, slots=True)
class Config:
    """The settings of one pyproject.toml; `folder` is where it lies, "" where there is none."""

    folder: str = ""
    paths: tuple[str, ...] = ()
    fail_on: str | None = None
    baseline: str | None = None
    limits: Mapping[str, int] = field(default_factory=dict)
    options: Options = Options()
    per_path: tuple[tuple[str, Options], ...] = ()

    def options_for(self, path: str) -> Options:
        """The options of one checkpoint: later tables of `per-path` count for more than earlier ones."""
        options = self.options
        whole = _seen_from(self.folder, path) if self.per_path else ""
        names = {whole, whole.rpartition("::")[0] or whole}  # with and without the state dict's name
        for pattern, own in self.per_path:
            if any(fnmatchcase(name, pattern) for name in names):
                options = own.over(options)
        return options

    def inside(self, path: str) -> str:
        """A path of the settings as one that can be opened from here, and is read easily."""
        return _from_here(self.folder, path)


def _seen_from(folder: str, path: str) -> str:
    try:
        return os.path.relpath(path, folder or os.curdir).replace(os.sep, "/")
    except ValueError:  # on another drive
        return path.replace(os.sep, "/")


def find(start: str = os.curdir) -> str | None:
    """The nearest pyproject.toml with a table `tool.ckptaudit`, from `start` upwards; None without one."""
    folder = os.path.abspath(start)
    while True:
        path = os.path.join(folder, NAME)
        if os.path.isfile(path) and _mentions_us(path):
            return path
        above = os.path.dirname(folder)
        if above == folder:
            return None
        folder = above


def _from_here(folder: str, path: str) -> str:
    if os.path.isabs(path) or not folder:
        return path
    joined = os.path.join(folder, path)
    try:
        near = os.path.relpath(joined)
    except ValueError:  # another drive
        return joined
    return joined if near.startswith(os.pardir) else near


def _mentions_us(path: str) -> bool:
    try:
        with open(path, "rb") as file:
            # Most projects have no such table: tomllib need not be imported for them.
            return _TABLE.encode() in file.read() and _table(path) is not None
    except OSError:
        return False


def load(path: str) -> Config:
    """The settings in `path`. Raises ConfigError where there are none, or some make no sense."""
    table = _table(path)
    if table is None:
        raise ConfigError(path, "no table [tool.ckptaudit]")
    raw = dict(table)
    per_path = raw.pop(_PER_PATH, {})
    if not isinstance(per_path, dict) or not all(isinstance(own, dict) for own in per_path.values()):
        raise ConfigError(path, f"[tool.ckptaudit.{_PER_PATH}] holds something else than tables")
    folder = os.path.dirname(path)
    return Config(
        folder=folder,
        paths=_strings(path, raw, "paths") or (),
        fail_on=_string(path, raw, "fail-on"),
        baseline=_string(path, raw, "baseline"),
        limits=_limits(path, raw.pop("limits", {})),
        options=_options(path, raw, folder, _OF_ALL),
        per_path=tuple((pattern, _options(path, dict(own), folder)) for pattern, own in per_path.items()),
    )


def _table(path: str) -> dict[str, Any] | None:
    import tomllib

    try:
        with open(path, "rb") as file:
            tools = tomllib.load(file).get("tool")
    except OSError as error:
        raise ConfigError(path, error.strerror or str(error), remedy="check --config") from None
    except ValueError as error:  # no TOML, or no UTF-8
        raise ConfigError(path, f"no TOML: {error}") from None
    found = tools.get(_TABLE) if isinstance(tools, dict) else None
    return found if isinstance(found, dict) else None


def _options(path: str, raw: dict[str, Any], folder: str, more: tuple[str, ...] = ()) -> Options:
    """Take the options out of a table; whatever is left in it then is a mistake."""
    deep = raw.pop("deep", None)
    if deep is not None and not isinstance(deep, bool):
        raise ConfigError(path, f"deep is true or false, not {deep!r}")
    against = _string(path, raw, "against")
    if against and not against.startswith("module:"):
        against = _from_here(folder, against)
    options = Options(
        select=_strings(path, raw, "select"),
        ignore=_strings(path, raw, "ignore") or (),
        against=against,
        map=_strings(path, raw, "map") or (),
        expect_device=_string(path, raw, "expect-device"),
        deep=deep,
    )
    if raw:
        known = [*(each.name.replace("_", "-") for each in fields(Options)), *more]
        raise ConfigError(
            path, f"unknown setting {next(iter(raw))!r}", remedy=f"there are {', '.join(known)}"
        )
    return options


def _strings(path: str, raw: dict[str, Any], name: str) -> tuple[str, ...] | None:
    value = raw.pop(name, None)
    if value is None:
        return None
    if not isinstance(value, list) or not all(isinstance(each, str) for each in value):
        raise ConfigError(path, f"{name} is a list of strings, not {value!r}")
    return tuple(value)


def _string(path: str, raw: dict[str, Any], name: str) -> str | None:
    value = raw.pop(name, None)
    if value is not None and not isinstance(value, str):
        raise ConfigError(path, f"{name} is a string, not {value!r}")
    return value


def _limits(path: str, raw: Any) -> Mapping[str, int]:
    if not isinstance(raw, dict) or not all(type(each) is int and each >= 0 for each in raw.values()):
        raise ConfigError(path, "limits is a table of whole numbers")
    return raw


def names(config: Config) -> Iterator[str]:
    """Every name of a rule or group in the settings."""
    for options in (config.options, *(own for _, own in config.per_path)):
        yield from (*(options.select or ()), *options.ignore)
