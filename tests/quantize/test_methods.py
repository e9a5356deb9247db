"""Searched scales and GPTQ: each loses less than what is simpler, of what it promises to lose less of."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from convert.errors import BadCheckpoint
from convert.quantize.gptq import Compensation, gptq_rows
from convert.quantize.native import quantize_rows
from convert.quantize.scale_search import search_rows

Rounded = tuple[NDArray[np.uint8], NDArray[np.float16]]
RANDOM = np.random.default_rng(7)
ROWS, WIDTH = 48, 160
WEIGHTS = RANDOM.standard_t(4, (ROWS, WIDTH)).astype(np.float32) * np.float32(0.05)
# Inputs as networks have them: correlated, and some columns far larger than others.
MIXED = RANDOM.standard_normal((WIDTH, WIDTH)) * np.exp(RANDOM.standard_normal(WIDTH))
INPUTS = (RANDOM.standard_normal((2000, WIDTH)) @ MIXED).astype(np.float32)
HELD_OUT = (RANDOM.standard_normal((500, WIDTH)) @ MIXED).astype(np.float32)


def moments(*columns: slice) -> list[NDArray[np.float32]]:
    return [INPUTS[:, part].T @ INPUTS[:, part] / np.float32(len(INPUTS)) for part in columns or (slice(None),)]


def weights_of(rounded: Rounded, bits: int, block_size: int, width: int) -> NDArray[np.float32]:
    codes, scale = rounded
    if bits == 4:
        codes = np.stack([codes & 15, codes >> 4], axis=-1).reshape(*codes.shape[:2], -1)
    assert codes.shape[2] == block_size
    weights = (codes.astype(np.float32) - (1 << (bits - 1))) * scale.astype(np.float32)[..., None]
    return weights.reshape(len(codes), -1)[:, :width]


def loss(rounded: Rounded, bits: int, block_size: int, inputs: NDArray[Any] | None = None) -> float:
    error = weights_of(rounded, bits, block_size, WIDTH) - WEIGHTS
    return float(np.square(error if inputs is None else inputs @ error.T).mean())


@pytest.mark.parametrize("block_size", [16, 32, 64])
@pytest.mark.parametrize("bits", [4, 8])
def test_searched_scales_lose_less_of_the_weights_than_the_steepest(bits: int, block_size: int) -> None:
    searched, steepest = (rounding(WEIGHTS, bits, block_size) for rounding in (search_rows, quantize_rows))
    assert loss(searched, bits, block_size) < loss(steepest, bits, block_size)
    assert [item.shape for item in searched] == [item.shape for item in steepest]
    assert [item.dtype for item in searched] == [item.dtype for item in steepest]


@pytest.mark.parametrize("block_size", [16, 32, 64])
@pytest.mark.parametrize("bits", [4, 8])
def test_gptq_loses_less_of_the_product_than_searched_scales(bits: int, block_size: int) -> None:
    calibrated = gptq_rows(WEIGHTS, bits, block_size, Compensation(moments()))
    searched = search_rows(WEIGHTS, bits, block_size)
    assert loss(calibrated, bits, block_size, HELD_OUT) < 0.6 * loss(searched, bits, block_size, HELD_OUT)


def test_gptq_in_groups_of_columns_lies_between() -> None:
    whole, halves = (
        gptq_rows(WEIGHTS, 4, 32, Compensation(moments(*parts))) for parts in ((), (slice(0, 96), slice(96, None)))
    )
    searched = search_rows(WEIGHTS, 4, 32)
    assert loss(whole, 4, 32, HELD_OUT) < loss(halves, 4, 32, HELD_OUT) < loss(searched, 4, 32, HELD_OUT)


def test_gptq_rounds_each_row_by_itself() -> None:
    compensation = Compensation(moments())
    whole = gptq_rows(WEIGHTS, 4, 32, compensation)
    parts = [gptq_rows(WEIGHTS[start : start + 7], 4, 32, compensation) for start in range(0, ROWS, 7)]
    differing = np.mean(np.concatenate([codes for codes, _ in parts]) != whole[0])
    assert differing < 0.01  # products of other shapes add in another order, which flips a code now and then
    np.testing.assert_array_equal(np.concatenate([scale for _, scale in parts]), whole[1])


def test_inputs_that_are_always_zero_do_no_harm() -> None:
    dead = moments()
    dead[0][:, 5] = dead[0][5] = 0
    assert np.isfinite(loss(gptq_rows(WEIGHTS, 4, 32, Compensation(dead)), 4, 32))


ROUNDINGS: list[Callable[[NDArray[np.float32], int, int], Rounded]] = [
    search_rows,
    lambda rows, bits, block_size: gptq_rows(
        rows, bits, block_size, Compensation([np.eye(rows.shape[1], dtype=np.float32)])
    ),
]


@pytest.mark.parametrize("rounding", ROUNDINGS)
def test_what_codes_can_hold_stays_exactly(rounding: Callable[[NDArray[np.float32], int, int], Rounded]) -> None:
    codes = RANDOM.integers(-8, 8, (5, 3, 32)).astype(np.float32)
    codes[..., 0] = -8
    weights = (codes * np.float16(0.013)).astype(np.float32).reshape(5, -1)[:, :83]  # the last block is padded
    weights[2] = 0
    rounded = rounding(weights, 4, 32)
    np.testing.assert_array_equal(weights_of(rounded, 4, 32, 83), weights)
    assert not np.signbit(rounded[1][2]).any()


@pytest.mark.parametrize(("weight", "said"), [(np.nan, "NaN or infinite"), (np.inf, "infinite"), (1e6, "too large")])
@pytest.mark.parametrize("rounding", ROUNDINGS)
def test_rejects_weights_that_no_scale_can_hold(
    rounding: Callable[[NDArray[np.float32], int, int], Rounded], weight: float, said: str
) -> None:
    weights = WEIGHTS.copy()
    weights[3, 70] = weight
    with pytest.raises(BadCheckpoint, match=said):
        rounding(weights, 4, 32)
