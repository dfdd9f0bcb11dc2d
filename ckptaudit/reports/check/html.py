"""The page that ckptaudit.reports.html makes of a report."""

from __future__ import annotations

from ckptaudit.reports.html.page import checked as render

__all__ = ["render"]
