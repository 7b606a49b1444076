"""MLX's fused kernels against plain formulas, and parts of models against the CPU in float32."""

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import product

import mlx.core as mx
import numpy as np

from mistralrs_mlx.bench.metal import fuses
from scripts.metal_parts import COARSE, parts

__all__ = ["kernels"]

DTYPES = {mx.float32: 1e-4, mx.float16: 4e-3, mx.bfloat16: 3e-2}  # with the error that is allowed
NARROW = 4  # times as much where the CPU computes, which adds up in the narrow type
TF32 = 3e-3  # in float32 where a GPU multiplies with ten bits of it
BITS, GROUPS = (2, 3, 4, 5, 6, 8), (32, 64, 128)
MODES = (("mxfp4", 32, 4), ("mxfp8", 32, 8), ("nvfp4", 16, 4))
Compared = tuple[str, mx.array, mx.array, float]


def kernels(device: mx.Device) -> Iterator[tuple[str, float, float]]:
    """What was computed, its error as a share of the largest number, and how large it may be."""
    for name, found, expected, allowed in _compared(device):
        slack = NARROW if device.type == mx.cpu else 1
        error = mx.abs(found.astype(mx.float32) - expected).max() / mx.abs(expected).max()
        yield name, float(np.array(error)), slack * allowed


def _compared(device: mx.Device) -> Iterator[Compared]:
    for dtype, usual in DTYPES.items():
        name = str(dtype).removeprefix("mlx.core.")
        allowed = max(usual, TF32) if dtype == mx.float32 and _rounds_products(device) else usual
        for compared in (_norm, _rope, _attention, _quantized, _gathered, _parts):
            for what, found, expected in compared(device, dtype):
                yield f"{what}, {name}", found, expected, max(allowed, COARSE.get(what, 0))


def _rounds_products(device: mx.Device) -> bool:
    """Whether float32 is rounded before it is multiplied: from the M5 on, unless told not to."""
    if device.type == mx.cpu or os.environ.get("MLX_ENABLE_TF32") == "0":
        return False
    generation = re.search(r"_g(\d+)", str(mx.device_info(device).get("architecture")))
    return generation is not None and int(generation[1]) >= 17


Pairs = Iterator[tuple[str, mx.array, mx.array]]


def _norm(device: mx.Device, dtype: mx.Dtype) -> Pairs:
    for dims in (64, 1000, 4096):
        x, weight = _normal(3, dims, dtype=dtype), _normal(dims, dtype=dtype)
        with mx.stream(mx.cpu):
            wide = x.astype(mx.float32)
            scale = mx.rsqrt((wide * wide).mean(-1, keepdims=True) + 1e-6)
            expected = wide * scale * weight.astype(mx.float32)
        yield f"rms_norm {dims}", mx.fast.rms_norm(x, weight, 1e-6, stream=device), expected


def _rope(device: mx.Device, dtype: mx.Dtype) -> Pairs:
    for dims, offset in product((64, 80, 128), (0, 4000)):
        x = _normal(1, 2, 5, dims, dtype=dtype)
        found = mx.fast.rope(
            x, dims, traditional=False, base=10000.0, scale=1.0, offset=offset, stream=device
        )
        with mx.stream(mx.cpu):
            places = mx.arange(offset, offset + 5, dtype=mx.float32)[:, None]
            angles = places * mx.exp(-mx.arange(0, dims, 2) * (mx.log(mx.array(10000.0)) / dims))
            first, second = mx.split(x.astype(mx.float32), 2, axis=-1)
            cos, sin = mx.cos(angles), mx.sin(angles)
            turned = [first * cos - second * sin, second * cos + first * sin]
            expected = mx.concatenate(turned, axis=-1)
        yield f"rope {dims} from {offset}", found, expected


def _attention(device: mx.Device, dtype: mx.Dtype) -> Pairs:
    for dims, queries in product((64, 80, 96, 128, 256), (1, 33)):
        q = _normal(2, 8, queries, dims, dtype=dtype)
        k, v = (_normal(2, 2, 70, dims, dtype=dtype) for _ in range(2))
        seen = mx.arange(70)[None] <= mx.arange(70 - queries, 70)[:, None]
        scale = dims**-0.5
        found = mx.fast.scaled_dot_product_attention(q, k, v, scale=scale, mask=seen, stream=device)
        with mx.stream(mx.cpu):
            q, k, v = (each.astype(mx.float32) for each in (q, k, v))
            k, v = (mx.repeat(each, 4, axis=1) for each in (k, v))
            scores = mx.where(seen, scale * (q @ k.swapaxes(-1, -2)), -mx.inf)
            expected = mx.softmax(scores, axis=-1) @ v
        yield f"attention {dims}, {queries} queries", found, expected


def _quantized(device: mx.Device, dtype: mx.Dtype) -> Pairs:
    affine = [("affine", group, bits) for bits, group in product(BITS, GROUPS)]
    for (mode, group, bits), rows in product([*affine, *MODES], (1, 20)):
        x = _normal(rows, 512, dtype=dtype)
        packed = Packed.of(_normal(256, 512, dtype=dtype), mode, group, bits)
        found = mx.quantized_matmul(
            x,
            packed.weight,
            packed.scales,
            packed.biases,
            group_size=group,
            bits=bits,
            mode=mode,
            stream=device,
        )
        with mx.stream(mx.cpu):
            expected = x.astype(mx.float32) @ packed.dense().T
        yield f"quantized_matmul {packed}, {rows} rows", found, expected


def _gathered(device: mx.Device, dtype: mx.Dtype) -> Pairs:
    chosen = mx.array([[0, 3], [2, 1], [3, 3]])
    for mode, group, bits in (*(("affine", 64, bits) for bits in BITS), *MODES):
        x = _normal(3, 1, 1, 256, dtype=dtype)
        packed = Packed.of(_normal(4, 128, 256, dtype=dtype), mode, group, bits)
        found = mx.gather_qmm(
            x,
            packed.weight,
            packed.scales,
            packed.biases,
            rhs_indices=chosen,
            transpose=True,
            group_size=group,
            bits=bits,
            mode=mode,
            stream=device,
        )
        with mx.stream(mx.cpu):
            expected = x.astype(mx.float32) @ packed.dense()[chosen].swapaxes(-1, -2)
        yield f"gather_qmm {packed}", found, expected


def _parts(device: mx.Device, dtype: mx.Dtype) -> Pairs:
    for name, part, arrays in parts():
        with _plain():
            expected = part(*arrays)
            mx.eval(expected)
        with mx.stream(device):
            found = part(*(each.astype(dtype) for each in arrays))
            mx.eval(found)
        yield name, found, expected


@contextmanager
def _plain() -> Iterator[None]:
    """The CPU, and nothing fused."""
    fused = fuses()
    mx.disable_compile()
    try:
        with mx.stream(mx.cpu):
            yield
    finally:
        if fused:
            mx.enable_compile()


@dataclass(frozen=True)
class Packed:
    """A weight as the CPU has packed it."""

    weight: mx.array
    scales: mx.array
    biases: mx.array | None
    mode: str
    group: int
    bits: int

    @classmethod
    def of(cls, weight: mx.array, mode: str, group: int, bits: int) -> "Packed":
        with mx.stream(mx.cpu):
            packed, scales, *biases = mx.quantize(weight, group_size=group, bits=bits, mode=mode)
        return cls(packed, scales, biases[0] if biases else None, mode, group, bits)

    def __str__(self) -> str:
        return f"{self.mode} {self.bits} bits, groups of {self.group}"

    def dense(self) -> mx.array:
        return mx.dequantize(
            self.weight,
            self.scales,
            self.biases,
            group_size=self.group,
            bits=self.bits,
            mode=self.mode,
        ).astype(mx.float32)


def _normal(*shape: int, dtype: mx.Dtype) -> mx.array:
    with mx.stream(mx.cpu):
        return mx.random.normal(shape).astype(dtype)
