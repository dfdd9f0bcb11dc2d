"""Tensors as the bytes of a safetensors file, the same bytes for the same tensors.

Written here, and not by the library: that one needs numpy, and the order of its metadata is any order
(https://huggingface.co/docs/safetensors/index#format).
"""

from __future__ import annotations

import ctypes
import json
import struct
from collections.abc import Mapping
from typing import Any

from ckptaudit.verify.lib import library

# Dtypes under their names in the format, for those that torch can make of bytes in every version.
WORDS = {
    "float64": "F64",
    "float32": "F32",
    "float16": "F16",
    "bfloat16": "BF16",
    "complex64": "C64",
    "int64": "I64",
    "int32": "I32",
    "int16": "I16",
    "int8": "I8",
    "uint8": "U8",
    "bool": "BOOL",
}


def pack(tensors: Mapping[str, Any], metadata: Mapping[str, str]) -> bytes:
    """The file; `tensors` are contiguous, on the CPU, and of a dtype in WORDS."""
    header: dict[str, Any] = {"__metadata__": dict(metadata)}
    parts = []
    at = 0
    # Wide ones first, so that every tensor starts at a multiple of its item size.
    for name in sorted(tensors, key=lambda key: (-tensors[key].element_size(), key)):
        tensor = tensors[name]
        size = tensor.numel() * tensor.element_size()
        word = WORDS[str(tensor.dtype).removeprefix("torch.")]
        header[name] = {"dtype": word, "shape": list(tensor.shape), "data_offsets": [at, at + size]}
        parts.append(ctypes.string_at(tensor.data_ptr(), size) if size else b"")
        at += size
    text = json.dumps(header).encode("ascii")
    text += b" " * (-len(text) % 8)
    return b"".join((struct.pack("<Q", len(text)), text, *parts))


def unpacked(raw: bytes, dtype: str, shape: tuple[int, ...]) -> Any:
    """A tensor of its bytes."""
    torch = library()
    word = getattr(torch, dtype)
    if not raw:
        return torch.empty(shape, dtype=word)
    return torch.frombuffer(bytearray(raw), dtype=word).reshape(shape)
