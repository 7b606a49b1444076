"""Graphs as a Mac's GPU would run them, on a machine that has none.

Without a GPU the operations of `mx.fast` become long graphs of simple ones, and nothing is fused.
What is built inside `metal_graphs` has a single primitive for each of them instead, and compiled
functions are one kernel. Such graphs can be counted, never evaluated.
"""

import contextlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any
from unittest import mock

import mlx.core as mx

from mistralrs_mlx.cache.fused import fused
from mistralrs_mlx.cache.span import FEW

__all__ = ["fuses", "metal_graphs"]


@contextlib.contextmanager
def metal_graphs() -> Iterator[None]:
    """Build graphs like Metal's. On a GPU they are that anyway.

    Functions that are compiled inside must not use `mx.fast` themselves: their traces stay.
    """
    if mx.default_device() == mx.gpu:
        yield
        return
    compiled = fuses()
    with contextlib.ExitStack() as stack:
        for owner, name, single in _SINGLE:
            stack.enter_context(mock.patch.object(owner, name, single))
        stack.enter_context(_compiler())
        mx.enable_compile()
        try:
            yield
        finally:
            if not compiled:
                mx.disable_compile()


def fuses() -> bool:
    """Whether compiled functions are fused here and now."""
    calls = []

    def twice(x: mx.array) -> mx.array:
        calls.append(x)
        return x + x

    work = mx.compile(twice)
    one = mx.array(1.0)
    work(one)
    work(one)
    return len(calls) == 1


@contextlib.contextmanager
def _compiler() -> Iterator[None]:
    """Something that MLX takes for the compiler it looks for once; nothing is compiled with it."""
    if shutil.which("g++") is not None:
        yield
        return
    with tempfile.TemporaryDirectory() as folder:
        stand_in = Path(folder) / "g++"
        stand_in.write_text("#!/bin/sh\nexit 0\n", encoding="utf-8")
        stand_in.chmod(0o700)
        path = os.pathsep.join([folder, os.environ.get("PATH", os.defpath)])
        with mock.patch.dict(os.environ, PATH=path):
            fuses()
            yield


def _rms_norm(x: mx.array, weight: mx.array | None, *_: Any, **__: Any) -> Any:
    x, *others = _alike(x, weight)
    return mx.depends(x, others or x)


def _layer_norm(x: mx.array, weight: Any, bias: Any, *_: Any, **__: Any) -> Any:
    x, *others = _alike(x, weight, bias)
    return mx.depends(x, [x, *others])


def _rope(x: mx.array, _: int, *, offset: Any, freqs: Any = None, **__: Any) -> Any:
    if isinstance(offset, int):
        return mx.depends(x, x if freqs is None else freqs)
    return mx.depends(x, _read(offset, freqs))


def _attention(
    q: mx.array, k: mx.array, v: mx.array, *, mask: Any = None, sinks: Any = None, **_: Any
) -> Any:
    q, k, v = _alike(q, k, v)
    if isinstance(mask, mx.array) and len(q) > 1 and q.shape[1] > 1 and q.shape[2] <= FEW:
        whole = (*q.shape[:3], k.shape[2])  # the kernel for few queries takes no other
        mask = mask if mask.shape == whole else mx.contiguous(mx.broadcast_to(mask, whole))
    same = q.shape[-1] == v.shape[-1]
    if same and mask is sinks is None:
        return mx.depends(q, [k, v])
    out = q if same else _blank((*q.shape[:-1], v.shape[-1]), q.dtype)
    return mx.depends(out, _read(q, k, v, mask, sinks))


def _dequantize(
    w: mx.array,
    scales: mx.array,
    biases: Any = None,
    group_size: Any = None,
    bits: Any = None,
    mode: str = "affine",
    **_: Any,
) -> Any:
    width = w.shape[-1] * 32 // (bits or 4)
    dtype = scales.dtype if mode == "affine" else mx.bfloat16
    return mx.depends(_blank((*w.shape[:-1], width), dtype), _read(w, scales, biases))


def _alike(*inputs: Any) -> list[mx.array]:
    """Those that are arrays, all in the type that holds each of theirs."""
    arrays = _read(*inputs)
    dtype = mx.result_type(*arrays)
    return [each if each.dtype == dtype else each.astype(dtype) for each in arrays]


def _read(*inputs: Any) -> list[mx.array]:
    """Those that are arrays."""
    return [each for each in inputs if isinstance(each, mx.array)]


@cache
def _blank(shape: tuple[int, ...], dtype: mx.Dtype) -> mx.array:
    """An array that no primitive makes."""
    out = mx.zeros(shape, dtype)
    _EVAL(out)
    return out


_EVAL = mx.eval  # whatever stands in for it while graphs are built
_SINGLE = (
    (mx.fast, "rms_norm", _rms_norm),
    (mx.fast, "layer_norm", _layer_norm),
    (mx.fast, "rope", _rope),
    (mx.fast, "scaled_dot_product_attention", _attention),
    (mx, "dequantize", _dequantize),
    (fused, "rope", _rope),
    (fused, "attention", _attention),
    (fused, "sigmoid", mx.sigmoid),
)
