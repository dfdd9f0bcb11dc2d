"""Text out of files as code in Markdown, for every report in it."""

from __future__ import annotations


def span(text: str) -> str:
    """Text as code, where Markdown looks for no markup, HTML or @mention; character by character
    where the text could end the code itself."""
    if not text:
        return ""
    if "`" in text or "|" in text or "\\" in text or text != text.strip():
        return f"<code>{''.join(char if char.isalnum() else f'&#{ord(char)};' for char in text)}</code>"
    return f"`{text}`"
