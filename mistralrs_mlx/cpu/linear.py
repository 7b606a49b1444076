"""Linear layers for the CPU backend: dense float32, or packed with a GEMM for many rows.

A dense weight has the shape (N, K) in either order of memory. `by_columns` means that the N
outputs of one input lie next to each other, which reference BLAS needs to be quick at all and most
OpenBLAS kernels copy faster. Otherwise it is stored as checkpoints have it, and multiplied in
pieces that OpenBLAS need not copy, if it has kernels for those.
"""

from collections.abc import Sequence

import mlx.core as mx
import mlx.nn as nn

__all__ = [
    "DenseEmbedding",
    "DenseLinear",
    "HybridEmbedding",
    "HybridLinear",
    "dense_weight",
    "unpacked",
]

SMALL_PRODUCT = (
    1_000_000  # multiplications; products up to this size OpenBLAS computes without copying
)
PIECES = (64, 32, 16, 8)  # output rows of a piece of a weight, so that its product is as small
SPLIT_ROWS = 16  # inputs; from here on one GEMM is as fast
GEMM_ROWS = 5  # inputs; the packed kernel's time grows with rows, dequantizing costs about four
AT_ONCE = 4096  # outputs that are unpacked at a time: a vocabulary is ten times as many
REFERENCE_GEMM_ROWS = 32  # inputs, with the BLAS of MLX's wheel


def dense_product(x: mx.array, weight: mx.array) -> mx.array:
    """x (..., K) times weight (N, K) transposed -> (..., N), split into batches for few rows."""
    out_dims, in_dims = weight.shape
    rows = x.size // in_dims
    piece = _piece(rows, out_dims, in_dims)
    if piece is None:
        return x @ weight.T
    pieces = weight.reshape(out_dims // piece, piece, in_dims).swapaxes(1, 2)
    out = x.reshape(1, rows, in_dims) @ pieces  # (N / piece, rows, piece)
    return out.swapaxes(0, 1).reshape(*x.shape[:-1], out_dims)


def _piece(rows: int, out_dims: int, in_dims: int) -> int | None:
    """How many outputs at a time are multiplied fastest; None: all of them."""
    if rows > SPLIT_ROWS or rows * out_dims * in_dims <= SMALL_PRODUCT:
        return None
    small = (n for n in PIECES if out_dims % n == 0 and rows * n * in_dims <= SMALL_PRODUCT)
    return next(small, None)


class Dense(nn.Module):
    """A weight (N, K) in float32, whatever its checkpoint holds, in the order that suits BLAS."""

    def __init__(self, weight: mx.array, *, by_columns: bool = False) -> None:
        super().__init__()
        self.weight = mx.contiguous(weight.T).T if by_columns else weight
        self.by_columns = by_columns

    def product(self, x: mx.array) -> mx.array:
        """x (..., K) -> (..., N)"""
        return x @ self.weight.T if self.by_columns else dense_product(x, self.weight)


class DenseLinear(Dense):
    """A linear layer in float32."""

    def __init__(
        self, weight: mx.array, bias: mx.array | None = None, *, by_columns: bool = False
    ) -> None:
        super().__init__(weight, by_columns=by_columns)
        if bias is not None:
            self.bias = bias

    def __call__(self, x: mx.array) -> mx.array:
        y = self.product(x)
        return y + self.bias if "bias" in self else y

    def beside(self, others: Sequence[nn.Module]) -> nn.Module | None:
        """The layer whose output is that of this one, then those of others; None: there is none."""
        layers = [self, *others]
        form = (self.by_columns, self.weight.shape[1], "bias" in self)
        if any((o.by_columns, o.weight.shape[1], "bias" in o) != form for o in layers):
            return None
        weight = mx.concatenate([layer.weight for layer in layers])
        bias = mx.concatenate([layer.bias for layer in layers]) if "bias" in self else None
        return DenseLinear(weight, bias, by_columns=self.by_columns)


class DenseEmbedding(Dense):
    """An embedding in float32 that may serve as the head too."""

    def __call__(self, tokens: mx.array) -> mx.array:
        return self.weight[tokens]

    def as_linear(self, x: mx.array) -> mx.array:
        return self.product(x)


class HybridLinear(nn.QuantizedLinear):
    """A packed linear layer that unpacks itself for passes of several rows."""

    @classmethod
    def of(cls, layer: nn.QuantizedLinear, *, optimised: bool) -> "HybridLinear":
        """The same layer, sharing its arrays; `optimised` says what the BLAS is."""
        hybrid = cls.__new__(cls)
        nn.Module.__init__(hybrid)
        dict.update(hybrid, layer)  # a module is a dict of its arrays
        hybrid.group_size, hybrid.bits, hybrid.mode = layer.group_size, layer.bits, layer.mode
        hybrid.optimised = optimised
        hybrid.freeze()
        return hybrid

    def __call__(self, x: mx.array) -> mx.array:
        if few(x, self.optimised):
            packed: mx.array = super().__call__(x)
            return packed
        y = unpacked_product(x, self)
        return y + self.bias if "bias" in self else y


class HybridEmbedding(nn.QuantizedEmbedding):
    """A packed embedding whose use as the head unpacks it for several rows."""

    @classmethod
    def of(cls, layer: nn.QuantizedEmbedding, *, optimised: bool) -> "HybridEmbedding":
        """The same embedding, sharing its arrays; `optimised` says what the BLAS is."""
        hybrid = cls.__new__(cls)
        nn.Module.__init__(hybrid)
        dict.update(hybrid, layer)  # a module is a dict of its arrays
        hybrid.group_size, hybrid.bits, hybrid.mode = layer.group_size, layer.bits, layer.mode
        hybrid.num_embeddings, hybrid.dims = layer.num_embeddings, layer.dims
        hybrid.optimised = optimised
        hybrid.freeze()
        return hybrid

    def as_linear(self, x: mx.array) -> mx.array:
        if few(x, self.optimised):
            packed: mx.array = super().as_linear(x)
            return packed
        return unpacked_product(x, self)


def few(x: mx.array, optimised: bool) -> bool:
    """Whether so few rows are multiplied faster by a packed weight as it is."""
    return bool(x.size // x.shape[-1] < (GEMM_ROWS if optimised else REFERENCE_GEMM_ROWS))


def unpacked_product(x: mx.array, layer: nn.Module) -> mx.array:
    """x (..., K) times the unpacked weight (N, K) of a layer, transposed -> (..., N)"""
    columns = unpacked(layer).T
    return x @ (columns if layer.optimised else mx.contiguous(columns))


def dense_weight(layer: nn.Module, *, by_columns: bool) -> mx.array:
    """The weight (N, K) of a layer in float32, made piece by piece in the order that is asked for.

    It and one piece are all that is in memory beside the layer.
    """
    outputs = layer.weight.shape[0]
    if outputs <= AT_ONCE:
        return _dense_rows(layer, slice(None))
    width = _dense_rows(layer, slice(1)).shape[1]
    whole = mx.zeros((width, outputs) if by_columns else (outputs, width))
    for start in range(0, outputs, AT_ONCE):
        rows = slice(start, min(start + AT_ONCE, outputs))
        if by_columns:
            whole[:, rows] = _dense_rows(layer, rows).T
        else:
            whole[rows] = _dense_rows(layer, rows)
        mx.eval(whole)
    return whole.T if by_columns else whole


def _dense_rows(layer: nn.Module, rows: slice) -> mx.array:
    if "scales" not in layer:
        weight: mx.array = layer.weight
        return weight[rows].astype(mx.float32)
    biases = layer.biases[rows] if "biases" in layer else None
    dense = mx.dequantize(
        layer.weight[rows],
        layer.scales[rows],
        biases,
        group_size=layer.group_size,
        bits=layer.bits,
        mode=layer.mode,
    )
    return dense.astype(mx.float32)


def unpacked(layer: nn.Module) -> mx.array:
    """The dense weight (N, K) of a packed layer."""
    return mx.dequantize(
        layer.weight,
        layer.scales,
        layer.biases if "biases" in layer else None,
        group_size=layer.group_size,
        bits=layer.bits,
        mode=layer.mode,
    )
