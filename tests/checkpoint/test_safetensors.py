"""The safetensors reader: what the reference writer writes is read, everything else is refused in one sentence."""

import json
import tracemalloc

import ml_dtypes
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.numpy import save_file

from convert.checkpoint.safetensors import open_safetensors, open_sharded_safetensors
from convert.errors import BadCheckpoint, FeatherweightError

DTYPES = [np.float64, np.float32, np.float16, ml_dtypes.bfloat16, np.int64, np.int32, np.int16, np.int8]
DTYPES += [np.uint64, np.uint32, np.uint16, np.uint8, np.bool_]


@pytest.mark.parametrize("dtype", DTYPES)
def test_roundtrip_from_the_reference_writer(tmp_path, dtype):
    values = np.random.default_rng(0).integers(0, 2, (5, 3)).astype(dtype)
    save_file({"a": values, "b": values[0]}, tmp_path / "m.safetensors")
    stored = open_safetensors(tmp_path / "m.safetensors")
    assert np.array_equal(stored.tensors["a"].read(), values.astype(np.float32))
    assert np.array_equal(stored.tensors["b"].read_rows(1, 3), values[0, 1:3].astype(np.float32))
    assert stored.tensors["a"].block_format is None


def test_roundtrip_of_bfloat16_is_exact(tmp_path):
    values = np.random.default_rng(0).standard_normal(4096).astype(ml_dtypes.bfloat16)
    save_file({"a": values}, tmp_path / "m.safetensors")
    read = open_safetensors(tmp_path / "m.safetensors").tensors["a"].read()
    assert np.array_equal(read.view(np.uint32), values.view(np.uint16).astype(np.uint32) << 16)


def test_reads_empty_and_scalar_tensors(tmp_path):
    empty, scalar = np.empty((0, 4), np.float32), np.array(2.5, np.float32)
    save_file({"empty": empty, "hollow": empty.T, "scalar": scalar}, tmp_path / "m.safetensors")
    tensors = open_safetensors(tmp_path / "m.safetensors").tensors
    assert tensors["empty"].read().shape == (0, 4)
    assert tensors["hollow"].read().shape == (4, 0)
    assert tensors["scalar"].read() == scalar
    assert tensors["scalar"].read().shape == ()


def test_reads_rows_across_decoding_chunks(tmp_path):
    values = np.random.default_rng(0).standard_normal((3000, 1000), np.float32)
    save_file({"a": values}, tmp_path / "m.safetensors")
    tensor = open_safetensors(tmp_path / "m.safetensors").tensors["a"]
    assert np.array_equal(tensor.read(), values)
    assert np.array_equal(tensor.read_rows(1047, 2100), values[1047:2100])


def entry(dtype="F32", shape=(2,), span=(0, 8)):
    return {"dtype": dtype, "shape": list(shape), "data_offsets": list(span)}


DEFECTS = {
    "unknown_dtype": ({"a": entry(dtype="F33")}, 8, "has dtype 'F33', expected one of F64, F32"),
    "dtype_of_another_type": ({"a": entry(dtype=7)}, 8, "has dtype 7"),
    "wrong_dtype": ({"a": entry(dtype="F16")}, 8, "has 8 bytes, expected 4 for F16"),
    "negative_size": ({"a": entry(shape=(-2,))}, 8, "has shape"),
    "boolean_size": ({"a": entry(shape=(True, 2))}, 8, "has shape"),
    "huge_size": ({"a": entry(shape=(1 << 62, 1 << 62))}, 8, "which no file can hold"),
    "huge_size_of_nothing": ({"a": entry(shape=(0, 1 << 62), span=(0, 0))}, 0, "which no file can hold"),
    "too_many_dimensions": ({"a": entry(shape=(1,) * 40)}, 8, "has shape"),
    "shape_of_another_type": ({"a": entry() | {"shape": "2"}}, 8, "has shape"),
    "backward_span": ({"a": entry(span=(8, 0))}, 8, "has -8 bytes"),
    "negative_span": ({"a": entry(span=(-8, 0))}, 8, "has data_offsets"),
    "short_span": ({"a": entry() | {"data_offsets": [0]}}, 8, "has data_offsets"),
    "fractional_span": ({"a": entry(span=(0.0, 8.0))}, 8, "has data_offsets"),
    "span_beyond_the_end": ({"a": entry(span=(0, 8))}, 7, "need 8 bytes, but only 7 are there; the file is truncated"),
    "overlap": ({"a": entry(), "b": entry(span=(4, 12))}, 12, "overlaps the one before it"),
    "gap": ({"a": entry(), "b": entry(span=(12, 20))}, 20, "4 bytes before the tensor 'b' belong to no tensor"),
    "bytes_after_the_end": ({"a": entry()}, 9, "1 bytes after the last tensor"),
    "missing_field": ({"a": {"dtype": "F32", "shape": [2]}}, 8, "expected dtype, shape and data_offsets"),
    "extra_field": ({"a": entry() | {"x": 1}}, 8, "expected dtype, shape and data_offsets"),
    "entry_of_another_type": ({"a": []}, 0, "expected dtype, shape and data_offsets"),
    "metadata_of_another_type": ({"__metadata__": {"a": 1}}, 0, "__metadata__ is not an object of strings"),
    "list": (b"[]", 0, "expected a JSON object"),
    "no_json": (b"{", 0, "is not valid JSON"),
    "no_utf8": (b'{"\xff": 1}', 0, "is not valid JSON"),
    "endless_nesting": (b'{"a":' * 100_000, 0, "is not valid JSON"),
    "duplicate_key": (b'{"a": 1, "a": 2}', 0, "the key 'a' appears twice"),
    "nan": (b'{"a": NaN}', 0, "holds NaN"),
    "endless_number": (b'{"a": ' + b"9" * 5000 + b"}", 0, "is not valid JSON"),
}


@pytest.mark.parametrize(("header", "data_bytes", "message"), DEFECTS.values(), ids=DEFECTS)
def test_rejects_header_with(tmp_path, write_safetensors, header, data_bytes, message):
    path = write_safetensors(tmp_path / "m.safetensors", header, bytes(data_bytes))
    with pytest.raises(BadCheckpoint) as error:
        open_safetensors(path)
    assert message in str(error.value)
    assert str(error.value).startswith(str(path))
    assert "\n" not in str(error.value)
    assert len(str(error.value)) < 500


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is empty"),
        (b"1234567", "is 7 bytes long"),
        ((1 << 62).to_bytes(8, "little") + b"{}", "the header claims 4611686018427387904 bytes, expected at most"),
        ((100_000_001).to_bytes(8, "little") + b"{}", "expected at most 100000000"),
        ((3).to_bytes(8, "little") + b"{}", "claims 3 bytes, but only 2 follow; the file is truncated"),
    ],
)
def test_rejects_length_that_the_file_does_not_have(tmp_path, content, message):
    (tmp_path / "m.safetensors").write_bytes(content)
    with pytest.raises(BadCheckpoint, match=message):
        open_safetensors(tmp_path / "m.safetensors")


def test_rejects_a_million_tensors_before_it_makes_them(tmp_path, write_safetensors):
    one = b'"%d":{"dtype":"F32","shape":[0],"data_offsets":[0,0]}'
    header = b"{" + b",".join(one % number for number in range(1_000_000)) + b"}"
    path = write_safetensors(tmp_path / "m.safetensors", header, b"")
    tracemalloc.start()
    with pytest.raises(BadCheckpoint, match="lists 1000000 tensors, expected at most 131072"):
        open_safetensors(path)
    peak_bytes = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak_bytes < 2 * len(header)


def test_rejects_an_index_of_a_million_tensors(tmp_path):
    index = tmp_path / "model.safetensors.index.json"
    index.write_text('{"weight_map":{' + ",".join(f'"{number}":"a.safetensors"' for number in range(1_000_000)) + "}}")
    with pytest.raises(BadCheckpoint, match="lists 1000000 tensors"):
        open_sharded_safetensors(index)


def test_rejects_missing_file_and_directory(tmp_path):
    with pytest.raises(BadCheckpoint, match="cannot be read"):
        open_safetensors(tmp_path / "m.safetensors")
    with pytest.raises(BadCheckpoint, match="cannot be read"):
        open_safetensors(tmp_path)


def sharded(directory, weight_map):
    save_file({"a": np.ones((2, 2), np.float32)}, directory / "model-00001-of-00002.safetensors")
    save_file({"b": np.zeros(3, np.float32)}, directory / "model-00002-of-00002.safetensors")
    index = directory / "model.safetensors.index.json"
    index.write_text(json.dumps({"metadata": {"total_size": 28}, "weight_map": weight_map}))
    return index


def test_sharded_roundtrip_keeps_the_order_of_the_index(tmp_path):
    placement = {"b": "model-00002-of-00002.safetensors", "a": "model-00001-of-00002.safetensors"}
    stored = open_sharded_safetensors(sharded(tmp_path, placement))
    assert list(stored.tensors) == ["b", "a"]
    assert stored.tensors["a"].read().tolist() == [[1, 1], [1, 1]]
    assert len(stored.files) == 2


@pytest.mark.parametrize(
    ("weight_map", "message"),
    [
        ({"a": "../evil.safetensors"}, "leads outside the directory"),
        ({"a": "/etc/evil.safetensors"}, "leads outside the directory"),
        ({"a": "..\\evil.safetensors"}, "leads outside the directory"),
        ({"a": "x/../../evil.safetensors"}, "leads outside the directory"),
        ({"a": "model.bin"}, "expected a .safetensors file name"),
        ({"a": 1}, "expected a .safetensors file name"),
        ({"a": "model-00003-of-00002.safetensors"}, "names 'model-00003-of-00002.safetensors', which is not there"),
        ({"c": "model-00001-of-00002.safetensors"}, "expects the tensor 'c' in"),
        ({}, "has no weight_map"),
        ([], "has no weight_map"),
    ],
)
def test_rejects_index(tmp_path, weight_map, message):
    with pytest.raises(BadCheckpoint) as error:
        open_sharded_safetensors(sharded(tmp_path, weight_map))
    assert message in str(error.value)


def test_rejects_shard_that_links_outside(tmp_path):
    outside, inside = tmp_path / "outside", tmp_path / "inside"
    outside.mkdir()
    inside.mkdir()
    save_file({"a": np.ones(2, np.float32)}, outside / "x.safetensors")
    index = sharded(inside, {"a": "x.safetensors"})
    (inside / "x.safetensors").symlink_to(outside / "x.safetensors")
    with pytest.raises(BadCheckpoint, match="is a link to a file outside"):
        open_sharded_safetensors(index)


@settings(max_examples=400, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_damaged_file_is_read_or_refused_never_anything_else(tmp_path, data):
    path = tmp_path / "m.safetensors"
    if not path.exists():
        values = {"w": np.ones((3, 4), np.float32), "v": np.ones(5, np.float16), "n": np.ones((1, 2), np.int64)}
        save_file(values, tmp_path / "sound.safetensors", metadata={"format": "pt"})
    damaged = bytearray((tmp_path / "sound.safetensors").read_bytes())
    for _ in range(data.draw(st.integers(1, 4))):
        damaged[data.draw(st.integers(0, len(damaged) - 1))] = data.draw(st.integers(0, 255))
    path.write_bytes(damaged[: data.draw(st.integers(0, len(damaged)) | st.just(len(damaged)))])
    message = ""
    try:
        stored = open_safetensors(path)
    except FeatherweightError as error:
        message = str(error)
    else:
        for tensor in stored.tensors.values():
            assert tensor.read().shape == tensor.shape
        stored.files[0].close()
    assert "\n" not in message
