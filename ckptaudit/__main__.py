"""`python -m ckptaudit`."""

from __future__ import annotations

from ckptaudit.cli import main

if __name__ == "__main__":
    main()
