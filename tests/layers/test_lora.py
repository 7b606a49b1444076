"""Adapters add their own update to their own rows, whatever the layer below is made of."""

from collections.abc import Callable, Sequence

import mlx.core as mx
import mlx.nn as nn
import numpy as np
import pytest

from mistralrs_mlx.cpu.policy import VARIABLE, choose_policy
from mistralrs_mlx.layers.attention import Attention
from mistralrs_mlx.layers.fusing import fuse, side_by_side
from mistralrs_mlx.layers.lora import LoRALinear, Slots, Update
from mistralrs_mlx.quant.layers import packed_layer
from mistralrs_mlx.quant.quantize import quantized
from mistralrs_mlx.quant.spec import Spec

WIDTH, OUTPUTS, RANKS = 64, 96, {"vision": 8, "speech": 12}


def random(*shape: int) -> mx.array:
    return mx.random.normal(shape) / np.sqrt(shape[-1])


def update(name: str, outputs: int = OUTPUTS) -> Update:
    rank = RANKS[name]
    return Update(down=random(rank, WIDTH), up=random(outputs, rank), scale=1.5)


def packed(linear: nn.Linear) -> nn.Module:
    weight = quantized(linear.weight, Spec(4), mx.float32)
    return packed_layer(linear, weight, mx.float32)


def on_cpu(form: str) -> Callable[[nn.Linear], nn.Module]:
    """What packs a layer and then holds it as the CPU's policy does."""

    def hold(linear: nn.Linear) -> nn.Module:
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv(VARIABLE, form)
            return choose_policy(0).adapt(packed(linear))

    return hold


BASES: dict[str, Callable[[nn.Linear], nn.Module]] = {
    "linear": lambda linear: linear,
    "quantized": packed,
    "dense on the CPU": on_cpu("dense"),
    "packed on the CPU": on_cpu("packed"),
}


@pytest.fixture(params=BASES)
def layer(request: pytest.FixtureRequest) -> LoRALinear:
    mx.random.seed(1)
    made = LoRALinear(BASES[request.param](nn.Linear(WIDTH, OUTPUTS)), Slots(list(RANKS)))
    for name in RANKS:
        made.put(name, update(name))
    return made


def passed(layer: LoRALinear, x: mx.array, slots: Sequence[int] | None) -> np.ndarray:
    layer.slots.use(slots)
    return np.array(layer(x))


@pytest.mark.parametrize("length", [1, 5])
def test_rows_of_one_pass_are_what_each_is_alone(layer: LoRALinear, length: int) -> None:
    x, slots = random(4, length, WIDTH), [2, 0, 1, 2]
    together = passed(layer, x, slots)
    for row, slot in enumerate(slots):
        alone = passed(layer, x[row : row + 1], [slot])
        np.testing.assert_allclose(together[row], alone[0], atol=2e-6)
    assert len({tuple(row) for row in together.reshape(4, -1)}) == 4


def test_an_update_is_its_two_products_times_the_scale(layer: LoRALinear) -> None:
    x, change = random(1, 3, WIDTH), update("speech")
    layer.put("speech", change)
    plain, ours = passed(layer, x, None), passed(layer, x, [2])
    expected = plain + 1.5 * np.array(x @ change.down.T @ change.up.T)
    np.testing.assert_allclose(ours, expected, atol=2e-6)


def test_without_adapters_the_layer_below_answers_alone(layer: LoRALinear) -> None:
    x = random(2, 3, WIDTH)
    expected = np.array(layer.base_layer(x))
    for slots in (None, [], [0, 0]):
        assert np.array_equal(passed(layer, x, slots), expected)
        assert layer.slots.active == ()


def test_a_removed_adapter_leaves_no_trace(layer: LoRALinear) -> None:
    x = random(2, 3, WIDTH)
    layer.remove("vision")
    layer.remove("never there")
    expected = np.array(layer.base_layer(x))
    assert np.array_equal(passed(layer, x, [1, 1]), expected)


def test_what_is_not_a_number_stays_in_its_row(layer: LoRALinear) -> None:
    x = random(2, 1, WIDTH)
    spoiled = mx.concatenate([mx.full((1, 1, WIDTH), mx.nan), x[1:]])
    assert np.array_equal(passed(layer, spoiled, [1, 2])[1], passed(layer, x, [1, 2])[1])


def test_slots_that_are_not_there_or_for_other_rows_are_refused(layer: LoRALinear) -> None:
    for slots in ([3], [-1, 0]):
        with pytest.raises(ValueError, match="there are the slots 0 to 2"):
            layer.slots.use(slots)
    layer.slots.use([0, 1])
    with pytest.raises(ValueError, match="slots for 2 rows, but 1 rows"):
        layer(random(1, 1, WIDTH))


@pytest.mark.parametrize("base", BASES)
def test_layers_side_by_side_keep_their_updates(base: str) -> None:
    slots, layers = Slots(list(RANKS)), []
    for outputs, names in ((64, ["vision", "speech"]), (32, ["speech"]), (32, [])):
        layers.append(LoRALinear(BASES[base](nn.Linear(WIDTH, outputs)), slots))
        for name in names:
            layers[-1].put(name, update(name, outputs))
    joined = side_by_side(layers)
    assert joined is not None
    slots.use([1, 2, 0])
    x = random(3, 2, WIDTH)
    expected = mx.concatenate([layer(x) for layer in layers], axis=-1)
    np.testing.assert_allclose(np.array(joined(x)), np.array(expected), atol=2e-6)


def test_layers_of_different_kinds_are_not_joined() -> None:
    slots = Slots(["vision"])
    wrapped = LoRALinear(nn.Linear(WIDTH, WIDTH), slots)
    assert side_by_side([wrapped, nn.Linear(WIDTH, WIDTH)]) is None
    assert side_by_side([wrapped, LoRALinear(packed(nn.Linear(WIDTH, WIDTH)), slots)]) is None
    assert side_by_side([wrapped, wrapped], axis=1) is None
    wrapped.put("vision", update("vision", WIDTH))
    wrapped.lora_B["vision"] = packed(nn.Linear(WIDTH, WIDTH))
    assert side_by_side([wrapped, wrapped]) is None


def test_a_block_whose_layers_are_wrapped_fuses_them() -> None:
    slots, block = Slots(["vision"]), Attention(WIDTH, 4, 2, 16, None)
    for name, outputs in (("q_proj", 64), ("k_proj", 32), ("v_proj", 32)):
        block[name] = LoRALinear(block[name], slots)
        block[name].put("vision", update("vision", outputs))
    x = random(2, 3, WIDTH)
    slots.use([0, 1])
    apart = mx.concatenate([block[f"{part}_proj"](x) for part in "qkv"], axis=-1)
    fuse(block)
    np.testing.assert_allclose(np.array(block.qkv_proj(x)), np.array(apart), atol=2e-6)


def test_half_precision_stays_half_precision(layer: LoRALinear) -> None:
    plain = LoRALinear(nn.Linear(WIDTH, OUTPUTS), layer.slots)
    plain.put("vision", update("vision"))
    plain.set_dtype(mx.bfloat16)
    layer.slots.use([1, 0])
    assert plain(random(2, 1, WIDTH).astype(mx.bfloat16)).dtype == mx.bfloat16
