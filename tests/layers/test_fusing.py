"""What joining layers costs while it is done."""

import mlx.core as mx
import mlx.nn as nn

from mistralrs_mlx.layers.activations import activation
from mistralrs_mlx.layers.fusing import fuse
from mistralrs_mlx.layers.mlp import GatedMLP


class Stack(nn.Module):
    def __init__(self, count: int) -> None:
        super().__init__()
        self.blocks = [GatedMLP(128, 512, activation("silu")) for _ in range(count)]


def test_only_one_block_is_there_twice_at_a_time() -> None:
    stack = Stack(16)
    mx.eval(stack.parameters())
    block = 2 * 128 * 512 * 4
    mx.synchronize()
    held = mx.get_active_memory()
    mx.reset_peak_memory()
    fuse(stack)
    assert mx.get_peak_memory() - held < 2 * block
    assert "gate_up_proj" in stack.blocks[-1]
