"""What a case of the corpus is."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

Kind = Literal["payload", "broken", "exhaustion", "lies", "text", "honest"]


@dataclass(frozen=True, slots=True)
class Case:
    """One file, and what a reader of it must say.

    `names` are globals that must be listed, each not "known" unless it is in `calm`; `called` those of
    them that the pickle calls itself. `says` are words that must occur together in one problem or in the
    error; `limit` is the cap that must be named. Files of kind "honest" must raise no problem at all.
    """

    name: str
    kind: Kind
    build: Callable[[Path], Path]
    names: tuple[str, ...] = ()
    called: tuple[str, ...] = ()
    says: tuple[str, ...] = ()
    limit: str = ""


def raw(data: bytes | Callable[[], bytes], name: str = "file.pt") -> Callable[[Path], Path]:
    """A builder that writes these bytes; what is large is made only when asked for."""

    def build(folder: Path) -> Path:
        path = folder / name
        path.write_bytes(data() if callable(data) else data)
        return path

    return build
