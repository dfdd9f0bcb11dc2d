"""One self-contained page on what was read of checkpoints, and what rules found in them.

Nothing in it comes from elsewhere, and a Content-Security-Policy with the hashes of its one script and one
style sheet says so to the browser. The same input makes the same bytes.

Every text in it can be an attacker's: it passes through `safe`, then through jinja2's autoescape, or through
JSON in which no character can end the element around it. The page is plain ASCII, so no stream spoils it.

What the page says stands in sections: to add one, write a function from a `Part` to a `Section` and put it
into SECTIONS of sections.py.
"""

from __future__ import annotations
