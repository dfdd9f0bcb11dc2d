"""safetensors: 8 bytes of header length (little-endian), a JSON header, the bytes of the tensors.

Only the header is read. What it may hold was read off `safetensors/src/tensor.rs` of safetensors 0.8
and its README: the header begins with `{`, offsets count from the end of the header and cover the
data without hole or overlap, a shape and a dtype make exactly the bytes between the offsets.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from math import prod
from types import MappingProxyType
from typing import Any, Final, NamedTuple

from ckptaudit.errors import UnreadableError
from ckptaudit.limits import Limits
from ckptaudit.model import DTYPE_BITS, Checkpoint, ModuleMeta, Span, StateDict, Storage, TensorMeta
from ckptaudit.readers.draft import Draft
from ckptaudit.readers.pickle.machine import run
from ckptaudit.readers.pickle.weights_only import judge_safetensors, settle
from ckptaudit.readers.probe import Probe
from ckptaudit.readers.statedicts import modules_of
from ckptaudit.readers.strict_json import is_utf8, parse_json
from ckptaudit.readers.wording import counted, few, limit_error

FORMAT: Final = "safetensors"
_LENGTH_BYTES: Final = 8
_SPACE: Final = b" \t\r\n"  # what JSON calls whitespace
_METADATA: Final = "__metadata__"
_INT: Final = {int}
_MOST_KEYS: Final = 1000
_FETCH: Final = "fetch or save the file again"

# The words of safetensors, and those of torch for the same numbers.
DTYPES: Final[Mapping[str, str]] = MappingProxyType(
    {
        "BOOL": "bool",
        "F4": "float4_e2m1fn_x2",
        "F6_E2M3": "float6_e2m3",
        "F6_E3M2": "float6_e3m2",
        "U8": "uint8",
        "I8": "int8",
        "F8_E5M2": "float8_e5m2",
        "F8_E4M3": "float8_e4m3fn",
        "F8_E8M0": "float8_e8m0fnu",
        "F8_E4M3FNUZ": "float8_e4m3fnuz",
        "F8_E5M2FNUZ": "float8_e5m2fnuz",
        "I16": "int16",
        "U16": "uint16",
        "F16": "float16",
        "BF16": "bfloat16",
        "I32": "int32",
        "U32": "uint32",
        "F32": "float32",
        "C64": "complex64",
        "F64": "float64",
        "I64": "int64",
        "U64": "uint64",
    }
)
# Bits of one number as safetensors counts it: torch's word for F4 stands for two.
_BITS: Final[Mapping[str, int]] = {name: DTYPE_BITS[word] for name, word in DTYPES.items()} | {"F4": 4}


class _Entry(NamedTuple):
    """One tensor of the header: its bytes lie at `begin` to `end` of the data."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    begin: int
    end: int


class _Faults:
    """Faults of single tensors, told once per kind however many tensors share it."""

    def __init__(self) -> None:
        self._found: dict[tuple[str, str], tuple[str, Span, list[str]]] = {}

    def add(self, code: str, kind: str, name: str, detail: str, span: Span) -> None:
        known = self._found.get((code, kind))
        if known:
            known[2].append(name)
        else:
            self._found[code, kind] = (f"tensor {few([name])} {detail}", span, [name])

    def tell(self, draft: Draft, *, incomplete: bool) -> None:
        for (code, _), (first, span, names) in self._found.items():
            rest = f"; {len(names) - 1:,} more have the same fault: {few(names[1:])}" if names[1:] else ""
            draft.problem(code, first + rest, span, incomplete=incomplete)

    def __bool__(self) -> bool:
        return bool(self._found)


def sniff(probe: Probe) -> bool:
    """Whether the file is meant as safetensors: a length, then `{` (`{"` after a broken length)."""
    head = probe.head
    text = head[_LENGTH_BYTES:]
    if int.from_bytes(head[:_LENGTH_BYTES], "little") <= probe.limits.header_bytes:
        return text.lstrip(_SPACE).startswith(b"{")
    # Eight letters as a length would make a JSON text pass for a safetensors file of 2**60 bytes.
    return text.startswith(b'{"') and not all(0x09 <= byte < 0x7F for byte in head[:_LENGTH_BYTES])


def read(probe: Probe) -> Checkpoint:
    """The tensors that the header lists, in its order.

    Raises UnreadableError where the header cannot be read at all.
    """
    draft = Draft(probe.source, FORMAT, probe.limits)
    length = int.from_bytes(probe.head[:_LENGTH_BYTES], "little")
    document = _document(draft, length)
    data = _LENGTH_BYTES + length
    draft.metadata.update(_metadata(draft, document.pop(_METADATA, None)))
    faults = _Faults()
    entries = _entries(draft, faults, document)
    faults.tell(draft, incomplete=True)
    for entry in entries:
        _collect(draft, entry, data)
    if data <= probe.source.size:
        _check_data(draft, entries, data, all_listed=not faults)
    _check_sizes(draft, entries, data)
    _check_pickle(draft, probe.head, data)
    draft.state_dicts.append(StateDict((), "model", _modules(draft)))
    settle(draft, judge_safetensors(draft))
    if not probe.head.startswith(b"{", _LENGTH_BYTES):
        # The library reads such a header all the same.
        span = draft.span(_LENGTH_BYTES, length)
        draft.problem("malformed-file", "the header begins with white space, not with '{'", span)
    return draft.finish()


# The header as text and JSON


def _document(draft: Draft, length: int) -> dict[str, Any]:
    """The header as a JSON object; what stands before a fault in it, where there is one."""
    path, size = draft.source.path, draft.source.size
    text, fault = _text(draft, length)
    try:
        document, repeated = parse_json(path, text, draft.limits, where=f"header, byte {_LENGTH_BYTES}")
    except json.JSONDecodeError as error:
        fault = fault or f"the header is no JSON: {error.msg} at character {error.pos:,}"
        document, repeated = _before_fault(draft, text, error.pos, fault)
    span = draft.span(_LENGTH_BYTES, min(length, size - _LENGTH_BYTES))
    if not isinstance(document, dict):
        raise UnreadableError(path, "the header is no JSON object", where="byte 8", remedy=_FETCH)
    if fault:
        draft.problem("malformed-file", fault, span, incomplete=True)
    if repeated:
        detail = f"the header names {few(repeated)} twice; the last one counts"
        draft.problem("duplicate-name", detail, span, keys=tuple(repeated[:_MOST_KEYS]))
    if "\\u" in text and not is_utf8(document):
        draft.problem("malformed-file", "a name in the header has no UTF-8 form: half a surrogate pair", span)
    return document


def _text(draft: Draft, length: int) -> tuple[str, str]:
    """The header's text, and what cuts it short ("" where nothing does)."""
    path, size, cap = draft.source.path, draft.source.size, draft.limits.header_bytes
    rest = size - _LENGTH_BYTES
    if length > cap and rest >= length:
        raise limit_error(path, "header_bytes", draft.limits, f"a header of {length:,} bytes", "byte 0")
    fault = f"the header should have {length:,} bytes, the file ends after {rest:,} of them"
    raw = draft.source.read(_LENGTH_BYTES, min(length, cap, rest))
    wide = not raw.isascii() or b"\\u" in raw
    if len(raw) * (4 if wide else 1) > cap:  # one wide character makes Python hold four bytes for each
        reason = f"a header of {length:,} bytes with characters beyond ASCII, which weigh four each"
        raise limit_error(path, "header_bytes", draft.limits, reason, "byte 0")
    try:
        return raw.decode(), "" if rest >= length else fault
    except UnicodeDecodeError as error:
        where = _LENGTH_BYTES + error.start
        return raw[: error.start].decode(), f"the header is not UTF-8 at byte {where:,}"


def _before_fault(draft: Draft, text: str, position: int, fault: str) -> tuple[Any, list[str]]:
    end = text.rfind("},", 0, position)
    try:
        if end < 0:
            raise ValueError
        return parse_json(draft.source.path, f"{text[: end + 1]}}}", draft.limits, where="header")
    except ValueError:
        raise UnreadableError(draft.source.path, fault, where="byte 8", remedy=_FETCH) from None


# The header's entries


def _metadata(draft: Draft, raw: object) -> dict[str, str]:
    if raw is None:
        return {}
    if not isinstance(raw, dict):
        draft.problem("malformed-file", f"{_METADATA} is no object", draft.span(_LENGTH_BYTES, 0))
        return {}
    wrong = [name for name, value in raw.items() if not isinstance(value, str)]
    if wrong:
        draft.problem("malformed-file", f"{_METADATA} has values that are no string: {few(wrong)}")
    return {name: value for name, value in raw.items() if isinstance(value, str)}


def _entries(draft: Draft, faults: _Faults, document: Mapping[str, Any]) -> list[_Entry]:
    """The tensors that the header describes; what describes none is a fault."""
    limits, header, entries = draft.limits, draft.span(_LENGTH_BYTES, 0), []
    for name, raw in document.items():
        fault = _entry_fault(raw, limits)
        if len(name) > limits.name_bytes:
            fault = f"has too long a name: {_reached('name_bytes', limits)}"
        if fault:
            code = "limit-reached" if "--limit" in fault else "malformed-file"
            faults.add(code, fault, name, fault, header)
        else:
            begin, end = raw["data_offsets"]
            entries.append(_Entry(name, raw["dtype"], tuple(raw["shape"]), begin, end))
    return entries


def _reached(name: str, limits: Limits) -> str:
    return f"the limit {name}={getattr(limits, name)} was reached (raise it with --limit {name}=N)"


def _entry_fault(raw: Any, limits: Limits) -> str:
    if not isinstance(raw, dict):
        return "is described by something that is no object"
    dtype, shape, offsets = raw.get("dtype"), raw.get("shape"), raw.get("data_offsets")
    if type(dtype) is not str:
        return "has no dtype"
    if type(shape) is not list or not _are_sizes(shape):
        return "has no shape of whole numbers from 0 to 2**63-1"
    if type(offsets) is not list or len(offsets) != 2 or not _are_sizes(offsets) or offsets[0] > offsets[1]:
        return "has no two rising data_offsets"
    if len(shape) > limits.depth:
        return f"has too many dimensions: {_reached('depth', limits)}"
    if dtype == "F4" and shape and shape[-1] % 2:
        return "has dtype F4 and an odd last dimension: torch packs two numbers into each byte"
    if _overflows(shape, _BITS.get(dtype, 8)):
        return "has a shape whose bits cannot be counted in 64 bits"
    if len(raw) > 3 and _is_deeper(raw, limits.json_depth):
        return f"has fields nested too deeply: {_reached('json_depth', limits)}"
    return ""


def _are_sizes(values: list[Any]) -> bool:
    # `type` and not isinstance: True is an int.
    return not values or ({*map(type, values)} == _INT and min(values) >= 0 and max(values) < 2**63)


def _overflows(shape: list[int], bits: int) -> bool:
    count = 1
    for size in (*shape, bits):
        count *= size
        if count >= 2**64:
            return True
    return False


def _is_deeper(value: object, levels: int) -> bool:
    level = [value]
    while level and levels >= 0:
        level = [
            child
            for parent in level
            if isinstance(parent, dict | list)
            for child in (parent.values() if isinstance(parent, dict) else parent)
        ]
        levels -= 1
    return bool(level)


def _collect(draft: Draft, entry: _Entry, data: int) -> None:
    name, word, shape, begin, end = entry
    dtype = DTYPES.get(word, word)
    if word == "F4" and shape:  # torch counts bytes of two numbers each
        shape = (*shape[:-1], shape[-1] // 2)
    span = draft.span(data + begin, end - begin)
    draft.storages[name] = Storage(name, dtype, "cpu", end - begin, span)
    draft.tensors[(name,)] = TensorMeta((name,), name, dtype, shape, _contiguous(shape), 0, name)


def _contiguous(shape: tuple[int, ...]) -> tuple[int, ...]:
    """Strides of a contiguous tensor, in elements, as torch counts them: in 64 bits that wrap around."""
    strides = [1] * len(shape)
    stride = 1
    for axis in range(len(shape) - 1, 0, -1):
        stride *= shape[axis] or 1
        if not -(2**63) <= stride < 2**63:
            stride = (stride + 2**63) % 2**64 - 2**63
        strides[axis - 1] = stride
    return tuple(strides)


# The header against the data


def _check_sizes(draft: Draft, entries: list[_Entry], data: int) -> None:
    faults = _Faults()
    for name, dtype, shape, begin, end in entries:
        bits = _BITS.get(dtype)
        if bits is None:
            detail = f"has the dtype {few([dtype])}, which is none of safetensors"
            faults.add("malformed-file", "dtype", name, detail, draft.span(data + begin, end - begin))
        elif prod(shape) * bits != (end - begin) * 8:
            takes = f"{prod(shape) * bits / 8:,.15g}"
            detail = f"of {dtype} [{few(shape, 8)}] takes {takes} bytes, its offsets span {end - begin:,}"
            span = draft.span(data + begin, end - begin)
            faults.add("storage-size-mismatch", "size", name, detail, span)
    faults.tell(draft, incomplete=False)


def _check_data(draft: Draft, entries: list[_Entry], data: int, *, all_listed: bool) -> None:
    """Whether the tensors cover the bytes after the header, each byte once."""
    ordered = sorted(entries, key=lambda entry: (entry.begin, entry.end))
    holes, overlaps, reach = [], [], 0
    for entry in ordered:
        if entry.begin > reach:
            holes.append((reach, entry.begin))
        elif entry.begin < reach:
            overlaps.append(entry.name)
        reach = max(reach, entry.end)
    held = draft.source.size - data
    if overlaps:
        draft.problem("malformed-file", f"bytes of {few(overlaps)} belong to another tensor too")
    # Bytes of a tensor that could not be listed are no hole: its own problem has told of it.
    if all_listed and holes:
        start, end = holes[0]
        more = f", and {len(holes) - 1:,} more such holes" if holes[1:] else ""
        span = draft.span(data + start, end - start)
        detail = f"bytes {start:,} to {end:,} of the data belong to no tensor{more}"
        draft.problem("malformed-file", detail, span)
    if all_listed and reach < held:
        span = draft.span(data + reach, held - reach)
        draft.problem("trailing-bytes", f"the last {held - reach:,} bytes belong to no tensor", span)
    if reach > held:
        outside = [entry.name for entry in ordered if entry.end > held]
        _tell_short(draft, outside, held, reach, torn=bool(holes or overlaps))


def _tell_short(draft: Draft, names: list[str], held: int, reach: int, *, torn: bool) -> None:
    span = draft.span(draft.source.size, 0)
    end = f"the tensors end at byte {reach:,} of the data, the file holds {held:,} bytes of it"
    if torn:
        draft.problem("tensor-outside-storage", f"{end}: {few(names)} lie outside", span, incomplete=True)
    else:
        detail = f"the file is truncated: {end}; {counted(names, 'tensor')} cut off, from {few(names[:1])} on"
        draft.problem("malformed-file", detail, span, incomplete=True)


def _check_pickle(draft: Draft, head: bytes, data: int) -> None:
    """Whether the same bytes run as a pickle too, and import something.

    Length bytes that look like an opcode mean nothing: the machine has to get past the zeros of the
    length and the JSON, and an import counts only where its names could be those of a module.
    """
    # A line of text can swallow the whole header, however long.
    limits = replace(draft.limits, name_bytes=draft.limits.header_bytes)
    pickled = run(head, 0, limits)
    if (pickled.fault is not None and pickled.fault.truncated) or pickled.end >= len(head):
        pickled = run(draft.source.read(0, data + 2**20), 0, limits)
    for found in pickled.globals:
        dotted = f"{found.module}.{found.name}"
        if all(part.isidentifier() for part in dotted.split(".")):
            detail = f"the same bytes run as a pickle, which imports {few([dotted])}"
            draft.problem("ambiguous-format", detail, draft.span(0, pickled.end))
            return


def _modules(draft: Draft) -> Mapping[str, ModuleMeta]:
    """The modules that the names spell. Hostile names of many dots would spell gigabytes of them."""
    limits, parents, weight = draft.limits, dict[str, None](), 0
    for path in draft.tensors:
        parent = str(path[0]).rpartition(".")[0]
        if parent in parents:
            continue
        levels = parent.count(".") + 1
        weight += levels * len(parent) // 2
        if levels > limits.depth:
            draft.limit("depth", f"the modules of tensor {few([str(path[0])])} are not listed")
            break
        if weight > limits.letters:
            draft.limit("letters", "the paths of the modules are too long to be listed")
            break
        parents[parent] = None
    return modules_of((f"{parent}." for parent in parents), {})
