"""The architecture as Python source that imports nothing but torch: `source(plan)`. Needs no torch itself.

A module of a known layer is one call, equal ones in a row are a loop, and what else has modules or tensors in
it is a class, shared by all that are alike. Nothing that a file says becomes code: see `text` and `names`.
"""

from __future__ import annotations

from ast import Name, parse, walk

from ckptaudit.rebuild.emit.bounds import thinned
from ckptaudit.rebuild.emit.code import STEP, lines_of
from ckptaudit.rebuild.emit.forms import settle
from ckptaudit.rebuild.emit.header import header
from ckptaudit.rebuild.emit.helpers import HELPERS, stateful
from ckptaudit.rebuild.emit.text import docstring
from ckptaudit.rebuild.emit.tree import grow
from ckptaudit.rebuild.emit.writer import Writer
from ckptaudit.rebuild.plan import Plan

__all__ = ["source"]


def source(plan: Plan) -> str:
    """A Python module with a function `build()`, whose model has exactly the tensors of `plan`.

    The same plan gives the same text, of ASCII alone.
    """
    plan = thinned(plan)
    root = grow(plan)
    settle(root)
    writer = Writer(root, plan)
    model = ["def build():", *docstring(["The model, with weights that are still to be loaded."], STEP)]
    for statement in writer.model():
        model += lines_of(statement, STEP)
    classes = ["\n".join(made.lines()) for made in writer.classes]
    helpers = [text.rstrip() for name, text in HELPERS.items() if name in writer.helpers]
    layers = [stateful(name, *of).rstrip() for of, name in writer.stateful.items()]
    about = "\n".join(docstring(header(plan, writer.runs())))
    code = "\n\n\n".join([*helpers, *layers, *classes, "\n".join(model)])
    imports = "import torch\nfrom torch import nn" if _names_torch(code) else "from torch import nn"
    if "prune.identity(" in code:  # torch imports it only where somebody asks for it
        imports += "\nfrom torch.nn.utils import prune"
    return f"{about}\n\n{imports}\n\n\n{code}\n"


def _names_torch(code: str) -> bool:
    """Whether torch itself is named, and not only torch.nn."""
    return any(isinstance(node, Name) and node.id == "torch" for node in walk(parse(code)))
