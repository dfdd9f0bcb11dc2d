"""The rule `device-mismatch`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from ckptaudit.audit import Finding, error, rule, warning
from ckptaudit.model import Checkpoint, TensorMeta
from ckptaudit.text import plural, some


@rule("structure")
def device_mismatch(checkpoint: Checkpoint, expected_device: str | None) -> Iterator[Finding]:
    """Tensors are tagged with several devices, or with another one than is expected.

    ## What it finds
    The device that each storage was saved from, as the file tells it. Several in one file are a warning.
    With `--expect-device`, any other device is an error; `cuda` stands for every `cuda:N`. The meta
    device has a rule of its own.

    ## Why it matters
    `torch.load` puts tensors back on the device that they came from: on a machine without it, loading
    fails; on one with several, memory of the wrong one fills.

    ## Example
    `4 of 8 tensors are tagged cuda:1, the others cuda:0`.

    ## What to do
    Move the model to one device, as a rule the CPU, before saving; or load with `map_location="cpu"`.
    """
    counts = Counter(_device(checkpoint, row) for row in checkpoint.tensors.values())
    devices = counts.keys() - {"meta", ""}
    if expected_device is None:
        if len(devices) > 1:
            yield _mixed(checkpoint, Counter({name: counts[name] for name in devices}))
        return
    wrong = {device for device in devices if not _fits(device, expected_device)}
    if wrong:
        rows = [row for row in checkpoint.tensors.values() if _device(checkpoint, row) in wrong]
        yield error(
            f"{plural(len(rows), 'tensor')} on {some(sorted(wrong))}, expected {expected_device}: "
            f"{some([row.key for row in rows])}",
            [row.key for row in rows],
            data={"expected": expected_device, "found": sorted(devices)},
            fix=f'save model.to("{expected_device}"), or load with map_location',
        )


def _fits(device: str, expected: str) -> bool:
    return device == expected or (":" not in expected and device.partition(":")[0] == expected)


def _device(checkpoint: Checkpoint, row: TensorMeta) -> str:
    storage = checkpoint.storages.get(row.storage)
    return "" if storage is None else storage.device


def _mixed(checkpoint: Checkpoint, counts: Counter[str]) -> Finding:
    most, *others = (name for name, _ in counts.most_common())
    rows = [row for row in checkpoint.tensors.values() if _device(checkpoint, row) in others]
    told = some([f"{counts[name]:,} on {name}" for name in others])
    return warning(
        f"tensors are tagged with {len(counts)} devices: {counts[most]:,} on {most}, {told}",
        [row.key for row in rows],
        data={"devices": dict(counts)},
        fix="save from one device, or load with map_location",
    )
