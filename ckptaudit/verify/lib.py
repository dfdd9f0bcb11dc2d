"""torch, imported when it is first needed: nothing else of ckptaudit waits for it."""

from __future__ import annotations

from typing import Any

from ckptaudit.errors import CkptAuditError


def library() -> Any:
    """The module torch. Raises CkptAuditError where it is not installed."""
    try:
        import torch
    except ImportError:
        raise CkptAuditError(
            "verify", "torch is not installed", remedy="pip install 'ckptaudit[torch]'"
        ) from None
    return torch
