"""Text out of files in Markdown that shows it and does nothing else: no markup, HTML, link or @mention.

GitHub looks for mentions, issues, commits and links in the text that Markdown leaves, backslashes or not, but
never in code (https://docs.github.com/en/get-started/writing-on-github): what is not a plain word is code.
"""

from __future__ import annotations

import re
from itertools import groupby

from ckptaudit.reports.check.wording import line
from ckptaudit.reports.markup import span
from ckptaudit.text import clip

# A word of a sentence or a short number, with its punctuation. Digits after a hyphen make a ticket (GH-1),
# and seven hexadecimal digits a commit.
_WORD = re.compile(
    r"\(?"
    r"(?:(?![0-9a-fA-F]{7,40}\b)[A-Za-z]+(?:['-][A-Za-z]+)*|\d{1,3}(?:[,.]\d{1,3})*|%)?"
    r"\)?[,;:.]?",
    re.ASCII,
)


def code(text: str, width: int = 300) -> str:
    """`text`, which is a name, a path or a command, as code; in a table too."""
    return span(line(clip(text, width))) or "(empty)"


def prose(text: str, width: int = 1000) -> str:
    """A sentence with text out of files in it: plain words stay, all else is code."""
    pieces = []
    for plain, words in groupby(line(clip(text, width)).split(" "), lambda word: bool(_WORD.fullmatch(word))):
        run = " ".join(words)
        pieces.append(run if plain else _spanned(run))
    return " ".join(pieces)


def _spanned(run: str) -> str:
    """The words as one span of code, without the punctuation of the sentence around them."""
    opening = "(" if run.startswith("(") and run.count("(") > run.count(")") else ""
    core = run[len(opening) :].rstrip(",;:.")
    if core.endswith(")") and core.count(")") > core.count("("):
        core = core[:-1]
    return f"{opening}{span(core)}{run[len(opening) + len(core) :]}"
