"""The diagram of a checkpoint, drawn by ckptaudit.diagram and embedded as SVG."""

from __future__ import annotations

from ckptaudit.errors import CkptAuditError
from ckptaudit.reports.html.part import Lines, Part, Section
from ckptaudit.reports.html.svg import UnsafeError, embedded
from ckptaudit.text import clip, safe


def drawing(part: Part) -> Section | None:
    """The diagram, or one line on why there is none."""
    if part.checkpoint is None or not (part.checkpoint.tensors or part.checkpoint.state_dicts):
        return None
    if not part.drawn:
        return _without("a page on this many files holds the diagrams of some. `ckptaudit graph` draws it.")
    try:
        svg, by = _drawn(part)
    except CkptAuditError as error:
        return _without("; ".join(filter(None, (error.reason, error.remedy))))
    except UnsafeError as error:
        return _without(f"what was drawn cannot be shown: {error}")
    except Exception as error:  # our own bug: no reason to lose the rest of the page
        return _without(f"internal error ({type(error).__name__}: {error}); please report it, with the file")
    return Section("diagram", "Diagram", "diagram", svg, f"drawn by {safe(by)}")


def _without(reason: str) -> Section:
    return Section("diagram", "Diagram", "lines", [Lines("", [f"Not drawn: {safe(clip(reason, 500))}"])])


def _drawn(part: Part) -> tuple[str, str]:
    from ckptaudit.diagram.dot import dot
    from ckptaudit.diagram.draw import draw
    from ckptaudit.diagram.picture import Options, picture

    assert part.checkpoint is not None
    found = () if part.report is None else part.report.findings
    options = Options(link=f"#row-{part.prefix}")
    drawn = draw(dot(picture(part.checkpoint, options, findings=found)), "svg")
    return embedded(drawn.data, options.link, part.prefix), drawn.by
