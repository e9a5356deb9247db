"""Lazy tensors and their views."""

import numpy as np
import pytest

from convert.checkpoint.safetensors import open_safetensors
from convert.checkpoint.tensor import LazyTensor, QuantBlocks, add, permute_rows, shift, slice_rows, transpose


@pytest.fixture
def tensors(tmp_path, write_safetensors) -> dict[str, LazyTensor]:
    values = {
        "matrix": np.arange(24, dtype="<f4").reshape(6, 4),
        "row": np.full((1, 4), 0.5, "<f4"),
        "vector": np.arange(6, dtype="<f4"),
    }
    header, data = {}, b""
    for name, value in values.items():
        header[name] = {
            "dtype": "F32",
            "shape": value.shape,
            "data_offsets": [len(data), len(data) + value.nbytes],
        }
        data += value.tobytes()
    return open_safetensors(write_safetensors(tmp_path / "t.safetensors", header, data)).tensors


def test_read_rows_is_new_contiguous_float32(tensors):
    rows = tensors["matrix"].read_rows(1, 3)
    assert rows.dtype == np.float32
    assert rows.flags.c_contiguous
    assert rows.flags.writeable
    assert rows.tolist() == [[4, 5, 6, 7], [8, 9, 10, 11]]
    assert tensors["vector"].read_rows(2, 5).tolist() == [2, 3, 4]
    assert tensors["matrix"].read_rows(3, 3).shape == (0, 4)


@pytest.mark.parametrize("span", [(-1, 2), (0, 7), (3, 2)])
def test_rejects_rows_outside_the_tensor(tensors, span):
    with pytest.raises(ValueError, match="rows"):
        tensors["matrix"].read_rows(*span)
    with pytest.raises(ValueError, match="rows"):
        permute_rows(tensors["matrix"], np.arange(6)).read_rows(*span)


def test_permuted_rows_match_indexing(tensors):
    order = np.array([3, 0, 5, 1, 4, 2])
    view = permute_rows(tensors["matrix"], order)
    expected = tensors["matrix"].read()[order]
    assert np.array_equal(view.read(), expected)
    for start in range(6):
        for stop in range(start, 7):
            assert np.array_equal(view.read_rows(start, stop), expected[start:stop])
    assert view.block_format is None
    assert view.read_blocks(0, 6) is None


def test_sliced_rows_match_slicing(tensors):
    view = slice_rows(tensors["matrix"], 2, 5)
    assert view.shape == (3, 4)
    assert np.array_equal(view.read(), tensors["matrix"].read()[2:5])
    assert np.array_equal(view.read_rows(1, 2), tensors["matrix"].read()[3:4])
    with pytest.raises(ValueError, match="rows"):
        view.read_rows(0, 4)


def test_sum_broadcasts_a_row_and_adds_equal_shapes(tensors):
    matrix = tensors["matrix"]
    assert np.array_equal(add(matrix, tensors["row"]).read_rows(4, 6), matrix.read()[4:6] + 0.5)
    assert np.array_equal(add(matrix, matrix).read_rows(4, 6), matrix.read()[4:6] * 2)
    with pytest.raises(ValueError, match="shapes"):
        add(tensors["row"], matrix)


def test_renamed_keeps_the_content(tensors):
    renamed = tensors["vector"].renamed("other")
    assert (renamed.name, tensors["vector"].name) == ("other", "vector")
    assert np.array_equal(renamed.read(), tensors["vector"].read())


def test_dequantize_matches_the_formula():
    random = np.random.default_rng(1)
    codes = random.integers(0, 16, (3, 2, 32), np.uint8)
    scale, offset = random.standard_normal((2, 3, 2)).astype(np.float16)
    weights = QuantBlocks(4, codes, 8, scale, offset).dequantize()
    for row, block, index in np.ndindex(codes.shape):
        product = np.float32(scale[row, block]) * (np.float32(codes[row, block, index]) - np.float32(8))
        assert weights[row, block * 32 + index] == product + np.float32(offset[row, block])


def test_transpose_gives_columns_as_rows(tensors, monkeypatch):
    monkeypatch.setattr("convert.checkpoint.tensor._TRANSPOSED_ELEMENTS", 8)  # two rows at a time
    view = transpose(tensors["matrix"])
    assert view.shape == (4, 6)
    assert view.read_rows(1, 3).tolist() == [[1, 5, 9, 13, 17, 21], [2, 6, 10, 14, 18, 22]]
    assert view.read_rows(2, 2).shape == (0, 6)


def test_shift_adds_one_number(tensors):
    assert shift(tensors["vector"], 1.0).read_rows(4, 6).tolist() == [5, 6]
