"""A checkpoint while it is being read: the one mutable thing that readers share."""

from __future__ import annotations

from dataclasses import replace

from ckptaudit.limits import Limits
from ckptaudit.model import (
    Checkpoint,
    GlobalRef,
    Path,
    Problem,
    Span,
    StateDict,
    Storage,
    TensorMeta,
)
from ckptaudit.source import Source


class Draft:
    """Collects what a reader finds in `source`; `finish` freezes it."""

    def __init__(self, source: Source, format: str, limits: Limits) -> None:
        self.source = source
        self.format = format
        self.limits = limits
        self.files: list[Span] = [Span(source.path, 0, source.size)]
        self.tensors: dict[Path, TensorMeta] = {}
        self.storages: dict[str, Storage] = {}
        self.state_dicts: list[StateDict] = []
        self.extras: dict[Path, object] = {}
        self.globals: list[GlobalRef] = []
        self.metadata: dict[str, str] = {}
        self.problems: list[Problem] = []
        self.weights_only: bool | None = None
        self.to_allow: tuple[str, ...] = ()
        self.refusals: tuple[str, ...] = ()

    def span(self, start: int, nbytes: int) -> Span:
        """A range of the file being read."""
        return Span(self.source.path, start, nbytes)

    def problem(
        self,
        code: str,
        detail: str,
        span: Span | None = None,
        *,
        incomplete: bool = False,
        keys: tuple[str, ...] = (),
    ) -> None:
        """Note something wrong; `incomplete` where it kept us from reading all that the file holds."""
        self.problems.append(Problem(code, detail, span, incomplete, keys))

    def limit(self, name: str, detail: str, span: Span | None = None) -> None:
        """Note that the cap `name` of Limits was reached, and how to raise it."""
        cap = getattr(self.limits, name)
        self.problem(
            "limit-reached",
            f"{detail}: the limit {name}={cap} was reached (raise it with --limit {name}=N)",
            span,
            incomplete=True,
        )

    def finish(self) -> Checkpoint:
        """The frozen checkpoint."""
        return Checkpoint(
            path=self.source.path,
            format=self.format,
            files=tuple(self.files),
            tensors=self.tensors,
            storages=self.storages,
            state_dicts=tuple(self.state_dicts),
            extras=self.extras,
            globals=_merged(self.globals),
            metadata=self.metadata,
            problems=tuple(self.problems),
            weights_only=self.weights_only,
            to_allow=self.to_allow,
            refusals=self.refusals,
        )


def _merged(found: list[GlobalRef]) -> tuple[GlobalRef, ...]:
    """Each name once, where it stands first; called if anywhere, for plain objects only if everywhere."""
    merged: dict[tuple[str, str], GlobalRef] = {}
    for ref in found:
        known = merged.setdefault((ref.module, ref.name), ref)
        if ref.called and (not known.called or known.instance > ref.instance):
            merged[ref.module, ref.name] = replace(known, called=True, instance=ref.instance)
    return tuple(merged.values())
