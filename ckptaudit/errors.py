"""What can go wrong, told in one line: file, place, reason, remedy."""

from __future__ import annotations

from typing import ClassVar


class CkptAuditError(Exception):
    """Base of every error that ckptaudit raises on purpose.

    `path` is the file as the caller named it, `where` a member or a byte offset inside it (may be
    empty), `reason` what is wrong and `remedy` what the reader of the message can do about it (may
    be empty). All four can hold text out of a hostile file: escape them before printing. `code` is the name
    of the rule that tells of it.
    """

    code: ClassVar[str] = "unreadable-file"

    def __init__(self, path: str, reason: str, *, where: str = "", remedy: str = "") -> None:
        self.path = path
        self.where = where
        self.reason = reason
        self.remedy = remedy
        super().__init__(path, where, reason, remedy)

    def __str__(self) -> str:
        place = f"{self.path}: {self.where}" if self.where else self.path
        line = f"{place}: {self.reason}"
        return f"{line}; {self.remedy}" if self.remedy else line


class UnreadableError(CkptAuditError):
    """Nothing could be read: the file is empty, or broken from its first byte on."""

    code: ClassVar[str] = "malformed-file"


class LimitError(UnreadableError):
    """Nothing could be read without going past a cap of Limits."""

    code: ClassVar[str] = "limit-reached"


class AccessError(UnreadableError):
    """There is no such file, no right to read it, or it is no regular file."""

    code: ClassVar[str] = "unreadable-file"


class UnsupportedFormatError(CkptAuditError):
    """The file is whole, and of a kind that ckptaudit recognises or does not, but never reads."""

    code: ClassVar[str] = "unsupported-format"


class NotFetchedError(CkptAuditError):
    """The file only stands for another one (a git-LFS pointer): there is nothing to audit yet."""

    code: ClassVar[str] = "not-fetched"


class SelectionError(CkptAuditError):
    """`PATH::name` names no state dict of this checkpoint, or more than one."""
