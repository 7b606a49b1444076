"""What MLX 0.32.4 cannot do on Metal, read from its source: `mlx/backend/metal`, `mlx/array.cpp`.

Primitives are named as MLX prints them. Most of these raise while a graph runs, which is in the
middle of an answer, and none of them does on the CPU.
"""

import mlx.core as mx

from tests.bench.traced import Node

__all__ = ["PACKED", "PRODUCTS", "complaint"]

UNBUILT = {  # primitives.cpp, distributed.cpp: they raise whatever they are given
    "AllGather",
    "AllReduce",
    "Cholesky",
    "Eig",
    "Eigh",
    "Inverse",
    "LUF",
    "Load",
    "QRF",
    "Recv",
    "ReduceScatter",
    "SVD",
    "Send",
}
WIDE = {mx.int64, mx.uint64, mx.complex64}  # eight bytes; indexing.cpp: no scatter writes them
INDEXED, INDICES = {"Gather", "Scatter"}, 20  # indexing.cpp: index arrays that one takes
PACKED = {"GatherQMM", "QuantizedMatmul"}
PRODUCTS = {*PACKED, "AddMM", "GatherMM", "Matmul"}


def complaint(node: Node) -> str | None:
    """Why Metal would not run this; None: it would."""
    return next((told for told, found in _faults(node).items() if found), None)


def _faults(node: Node) -> dict[str, bool]:
    made = {dtype for _, dtype in node.outputs}
    return {
        "has no Metal kernel": node.name in UNBUILT,
        "float64 is not for GPUs": mx.float64 in made | {dtype for _, dtype in node.inputs},
        "does not scatter eight bytes": "Scatter" in node.name and bool(made & WIDE),
        "takes fewer index arrays": len(node.inputs) > INDICES + 1 and node.name in INDEXED,
        "makes no booleans": node.name == "Arange" and mx.bool_ in made,
        "multiplies real numbers": node.name in PRODUCTS
        and not all(mx.issubdtype(dtype, mx.floating) for dtype in made),
    }
