"""Writing a file of our own: in one step, and never over something else by mistake."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from ckptaudit.errors import CkptAuditError


class OutputError(CkptAuditError):
    """A file cannot be written: no fault of a checkpoint's."""


@contextmanager
def replacing(path: str) -> Iterator[str]:
    """A name to write to; in the end what was written takes the place of the file at `path`, in one step.

    What is no regular file (/dev/stdout) is written to itself. Raises OutputError where it cannot be
    written; nothing is left behind then.
    """
    place = os.path.realpath(path)  # a link stays one
    is_special = os.path.exists(place) and not os.path.isfile(place)
    draft = place if is_special else f"{place}.{os.getpid()}.new"
    try:
        yield draft
        if not is_special:
            os.replace(draft, place)
    except OSError as error:
        raise OutputError(path, f"could not be written: {error.strerror or error}") from None
    finally:
        if not is_special:
            with suppress(OSError):
                os.remove(draft)


def write(path: str, data: str | bytes) -> None:
    """Replace the file at `path` in one step, text as UTF-8; OutputError where it cannot be written."""
    with replacing(path) as draft, open(draft, "wb") as file:
        file.write(data.encode("utf-8") if isinstance(data, str) else data)
