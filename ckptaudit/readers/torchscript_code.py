"""What the code of a TorchScript archive tells about its classes, read as text and never run.

torch writes one file for each Python module (torch/csrc/jit/serialization/python_print.cpp): a class
names its parameters and buffers in two lists, and its constants as `name : Final[type] = value`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from ckptaudit.errors import CkptAuditError
from ckptaudit.readers.draft import Draft
from ckptaudit.readers.records import Records

_LINE = re.compile(
    r"^(?:class (?P<cls>\w+)(?:\((?P<base>\w+)\))?:"
    r"|  (?P<slot>__parameters__|__buffers__) = \[(?P<names>[^\n]*)\]"
    r"|    self\.(?P<attribute>\w+) = \(state\)\[(?P<index>\d{1,4})\]"
    r"|  (?P<constant>\w+) : Final\[[^\n]*?\] = (?P<value>[^\n]*))$",
    re.MULTILINE,
)
_STRING = re.compile(r'"(?:[^"\\\n]|\\.)*"')
_MANGLE = re.compile(r"\.?___torch_mangle_\d+")
_MAX_LITERAL = 500  # characters; longer constants are tables, not settings
_WORDS: Mapping[str, object] = {"True": True, "False": False, "None": None}


@dataclass(slots=True)
class ScriptClass:
    """One class of the archive; `base` is "Module" for a module, "" for a plain class.

    `state_names` are the attributes that its `__setstate__` takes from the parts of its state by number.
    """

    base: str
    parameters: list[str] = field(default_factory=list)
    buffers: list[str] = field(default_factory=list)
    constants: dict[str, object] = field(default_factory=dict)
    state_names: dict[int, str] = field(default_factory=dict)


class Code:
    """The classes under `code/`, each file read when a class of it is first asked for."""

    def __init__(self, draft: Draft, records: Records) -> None:
        self._draft = draft
        self._records = records
        self._files: dict[str, Mapping[str, ScriptClass]] = {}
        self._budget = draft.limits.inflated_bytes
        self._strings = draft.limits.objects

    def find(self, module: str, name: str) -> ScriptClass | None:
        """The class `module.name`, None where the archive does not define it."""
        file = f"code/{module.replace('.', '/')}.py"
        if file not in self._files:
            self._files[file] = classes_in(self._read(file))
        return self._files[file].get(name)

    def _read(self, file: str) -> str:
        member = self._records.find(file)
        if member is None:
            return ""
        if member.nbytes > self._budget:
            self._draft.limit("inflated_bytes", f"{file}: {member.nbytes:,} bytes more of code to read")
            return ""
        self._budget -= member.nbytes
        try:
            text = self._records.archive.read(member, member.nbytes).decode("utf-8", "replace")
        except CkptAuditError as error:
            self._draft.problem("malformed-file", f"{file}: {error.reason}", incomplete=True)
            return ""
        self._strings -= text.count('"')
        if self._strings < 0:
            self._draft.limit("objects", f"{file}: too many names in code")
            return ""
        return text


def classes_in(text: str) -> dict[str, ScriptClass]:
    """The classes that one file of code defines, by name."""
    found: dict[str, ScriptClass] = {}
    current = ScriptClass("")
    for line in _LINE.finditer(text):
        if line["cls"]:
            current = found[line["cls"]] = ScriptClass(line["base"] or "")
        elif line["slot"] == "__parameters__":
            current.parameters = _strings(line["names"])
        elif line["slot"]:
            current.buffers = _strings(line["names"])
        elif line["attribute"]:
            current.state_names[int(line["index"])] = line["attribute"]
        elif len(line["value"]) <= _MAX_LITERAL:
            _keep(current.constants, line["constant"], line["value"])
    return found


def original_class(module: str, name: str) -> tuple[str, str]:
    """The Python class that a TorchScript class was made from: (module, name).

    torch puts `__torch__` before its module, or in the place of `__main__`, and keeps classes of one name
    apart by a part `___torch_mangle_N` (torch/_jit_internal.py, `_qualified_name`).
    """
    module, name = _MANGLE.sub("", module), _MANGLE.sub("", name)
    return module.removeprefix("__torch__").lstrip(".") or "__main__", name


def _keep(constants: dict[str, object], name: str, text: str) -> None:
    try:
        constants[name] = _literal(text)
    except ValueError:
        return  # an expression, a table, an enum: no plain setting


def _literal(text: str) -> object:
    """A scalar, or a flat tuple or list of scalars. Raises ValueError for anything else."""
    text = text.strip()
    if text[:1] + text[-1:] in ("()", "[]"):
        parts = [_scalar(part.strip()) for part in text[1:-1].split(",") if part.strip()]
        return tuple(parts) if text[0] == "(" else parts
    return _scalar(text)


def _scalar(text: str) -> object:
    if text in _WORDS:
        return _WORDS[text]
    if text[:1] == '"':
        value: object = json.loads(text)
        return value
    try:
        return int(text)
    except ValueError:
        return float(text)


def _strings(text: str) -> list[str]:
    found = []
    for quoted in _STRING.findall(text):
        try:
            found.append(str(json.loads(quoted)))
        except ValueError:
            found.append(quoted[1:-1])
    return found
