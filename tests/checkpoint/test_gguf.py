"""The GGUF container: what the reference writer writes is read exactly, everything else is refused in one sentence."""

import struct

import gguf
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from convert.checkpoint.block_formats import BLOCK_FORMATS
from convert.checkpoint.gguf import open_gguf
from convert.checkpoint.gguf_families import hugging_face_view
from convert.checkpoint.tokenizer_gguf import tokenizer_files
from convert.errors import BadCheckpoint, FeatherweightError, UnsupportedModel

QUANTIZED = {"Q4_0": (4, 8), "Q4_1": (4, 0), "Q5_0": (5, 16), "Q5_1": (5, 0), "Q8_0": (8, 128)}
"""Types that the gguf package can write: bits, code of weight 0."""


@pytest.mark.parametrize("matrix_type", ["F32", "F16", "BF16", *QUANTIZED])
def test_roundtrip_equals_the_reference_dequantization(tmp_path, write_gguf, matrix_type):
    path = write_gguf(tmp_path / "m.gguf", matrix_type)
    tensors = open_gguf(path).tensors
    reference = {tensor.name: tensor for tensor in gguf.GGUFReader(path).tensors}
    assert list(tensors) == list(reference)
    for name, tensor in tensors.items():
        expected = gguf.dequantize(reference[name].data, reference[name].tensor_type).reshape(tensor.shape)
        assert np.array_equal(tensor.read(), expected)
        assert np.array_equal(tensor.read_rows(1, 7), expected[1:7])


@pytest.mark.parametrize(("matrix_type", "bits", "zero"), [(name, *rest) for name, rest in QUANTIZED.items()])
def test_blocks_are_as_stored(tmp_path, write_gguf, matrix_type, bits, zero):
    tensor = open_gguf(write_gguf(tmp_path / "m.gguf", matrix_type)).tensors["blk.0.ffn_down.weight"]
    assert tensor.dtype == matrix_type
    assert tensor.block_format == BLOCK_FORMATS[matrix_type]
    blocks = tensor.read_blocks(3, 8)
    assert blocks is not None
    assert (blocks.bits, blocks.zero) == (bits, zero)
    assert blocks.codes.shape == (5, 3, 32)
    assert blocks.codes.max() < 1 << bits
    assert blocks.scale.shape == (5, 3)
    assert blocks.scale.dtype == np.float16
    assert (blocks.offset is not None) == matrix_type.endswith("_1")
    assert np.array_equal(blocks.dequantize(), tensor.read_rows(3, 8))


def test_dense_tensors_have_no_blocks(tmp_path, write_gguf):
    tensor = open_gguf(write_gguf(tmp_path / "m.gguf", "F16")).tensors["blk.0.ffn_down.weight"]
    assert tensor.block_format is None
    assert tensor.read_blocks(0, 1) is None


def test_every_tensor_of_smollm2_is_lossless(smollm2_checkpoint):
    """Permuted rows are checked where the order is; here every other tensor, against the gguf package."""
    by_name = smollm2_checkpoint.tensors
    path = smollm2_checkpoint.mapped[0].path
    own = open_gguf(path).tensors
    for reference in gguf.GGUFReader(path).tensors:
        expected = gguf.dequantize(reference.data, reference.tensor_type)
        assert np.array_equal(own[reference.name].read(), expected.reshape(own[reference.name].shape))
    assert {tensor.dtype for tensor in by_name.values()} == {"F32", "Q4_1", "Q8_0"}
    assert len(by_name) == 272


def test_metadata_numbers_mean_what_was_written(tmp_path, write_gguf):
    def change(metadata, tensors):
        metadata["llama.attention.layer_norm_rms_epsilon"] = 1e-5
        metadata["x.flag"] = True
        metadata["x.list"] = [1, 2, 3]

    metadata = open_gguf(write_gguf(tmp_path / "m.gguf", change=change)).metadata
    assert metadata.number("llama.attention.layer_norm_rms_epsilon") == 1e-5
    assert metadata.flag("x.flag", default=False) is True
    assert metadata.integers("x.list") == [1, 2, 3]
    assert "x.none" not in metadata
    with pytest.raises(BadCheckpoint, match=r"'x\.none' is missing"):
        metadata.integer("x.none")
    with pytest.raises(BadCheckpoint, match=r"'x\.flag' is True, expected a whole number"):
        metadata.integer("x.flag")
    with pytest.raises(BadCheckpoint, match="expected an array of strings"):
        metadata.texts("x.list")


def string(text: bytes) -> bytes:
    return struct.pack("<Q", len(text)) + text


def key_value(key: bytes, kind: int, value: bytes) -> bytes:
    return string(key) + struct.pack("<I", kind) + value


def tensor_row(name=b"t", shape=(32, 2), kind=0, offset=0) -> bytes:
    return string(name) + struct.pack(f"<I{len(shape)}QIQ", len(shape), *shape, kind, offset)


def container(pairs=(), rows=(), data=b"", version=3, magic=b"GGUF", pair_count=None, row_count=None) -> bytes:
    counts = (len(rows) if row_count is None else row_count, len(pairs) if pair_count is None else pair_count)
    raw = magic + struct.pack("<IQQ", version, *counts) + b"".join(pairs) + b"".join(rows)
    return raw + bytes(-len(raw) % 32) + data


HUGE = (1 << 63) - 1
FOUR, STRING, ARRAY = 4, 8, 9
DEFECTS = {
    "nothing": (b"", BadCheckpoint, "is empty"),
    "bad_magic": (container(magic=b"GGML"), BadCheckpoint, "begins with b'GGML', expected b'GGUF'"),
    "version_1": (container(version=1), UnsupportedModel, "is GGUF version 1, expected 2 or 3"),
    "big_endian": (container(version=3 << 24), UnsupportedModel, "is big-endian"),
    "no_counts": (b"GGUF\3\0\0\0", BadCheckpoint, "ends inside the number of tensors"),
    "huge_tensor_count": (container(row_count=HUGE), BadCheckpoint, f"claims {HUGE} tensors"),
    "huge_metadata_count": (container(pair_count=HUGE), BadCheckpoint, f"claims {HUGE} metadata entries"),
    "huge_key": (container([struct.pack("<Q", HUGE) + bytes(8)]), BadCheckpoint, f"claims {HUGE} bytes"),
    "huge_string": (
        container([key_value(b"k", STRING, struct.pack("<Q", HUGE))]),
        BadCheckpoint,
        f"'k' claims {HUGE} bytes",
    ),
    "string_beyond_the_end": (
        container([key_value(b"k", STRING, struct.pack("<Q", 1000))]),
        BadCheckpoint,
        "ends inside the metadata 'k' (1000 bytes needed",
    ),
    "string_of_no_utf8": (
        container([key_value(b"k", STRING, string(b"\xff"))]),
        BadCheckpoint,
        "'k' is not valid UTF-8",
    ),
    "huge_array": (
        container([key_value(b"k", ARRAY, struct.pack("<IQ", FOUR, HUGE))]),
        BadCheckpoint,
        f"claims {HUGE} elements in the metadata 'k'",
    ),
    "huge_string_array": (
        container([key_value(b"k", ARRAY, struct.pack("<IQ", STRING, HUGE))]),
        BadCheckpoint,
        f"claims {HUGE} strings in the metadata 'k'",
    ),
    "nested_array": (
        container([key_value(b"k", ARRAY, struct.pack("<IQ", ARRAY, 1))]),
        BadCheckpoint,
        "'k' has type 9",
    ),
    "unknown_metadata_type": (container([key_value(b"k", 77, b"")]), BadCheckpoint, "'k' has type 77"),
    "key_twice": (
        container([key_value(b"k", FOUR, bytes(4))] * 2),
        BadCheckpoint,
        "the metadata key 'k' appears twice",
    ),
    "odd_alignment": (
        container([key_value(b"general.alignment", FOUR, struct.pack("<I", 24))]),
        BadCheckpoint,
        "general.alignment is 24, expected a power of two",
    ),
    "no_alignment": (
        container([key_value(b"general.alignment", FOUR, bytes(4))]),
        BadCheckpoint,
        "general.alignment is 0",
    ),
    "split": (
        container([key_value(b"split.count", 2, struct.pack("<H", 3))]),
        UnsupportedModel,
        "is a part of a split model",
    ),
    "no_dimension": (container(rows=[tensor_row(shape=())]), BadCheckpoint, "has 0 dimensions, expected 1 to 4"),
    "many_dimensions": (container(rows=[tensor_row(shape=(1,) * 5)]), BadCheckpoint, "has 5 dimensions"),
    "empty_dimension": (container(rows=[tensor_row(shape=(0, 2))]), BadCheckpoint, "expected no empty dimension"),
    "unaligned_offset": (
        container(rows=[tensor_row(offset=4)], data=bytes(512)),
        BadCheckpoint,
        "at offset 4, expected",
    ),
    "unsupported_type": (
        container(rows=[tensor_row(kind=23)]),
        UnsupportedModel,
        "the tensor 't' has type IQ4_XS (23), expected one of F32, F16, Q4_0, Q4_1, Q5_0, Q5_1, Q8_0, Q2_K, Q3_K, Q4_K",
    ),
    "unknown_type": (container(rows=[tensor_row(kind=999)]), UnsupportedModel, "has type 999"),
    "tensor_beyond_the_end": (
        container(rows=[tensor_row()], data=bytes(255)),
        BadCheckpoint,
        "needs 256 bytes of data, but only 255 are there; the file is truncated",
    ),
    "huge_tensor": (
        container(rows=[tensor_row(shape=(1 << 40, 1 << 40))], data=bytes(256)),
        BadCheckpoint,
        "but only 256 are there",
    ),
    "huge_offset": (
        container(rows=[tensor_row(offset=1 << 62)], data=bytes(256)),
        BadCheckpoint,
        "but only 256 are there",
    ),
    "half_a_block": (container(rows=[tensor_row(shape=(48, 2), kind=3)]), BadCheckpoint, "multiple of 32"),
    "half_a_block_of_256": (container(rows=[tensor_row(shape=(288, 2), kind=12)]), BadCheckpoint, "multiple of 256"),
    "vector_of_blocks": (container(rows=[tensor_row(shape=(64,), kind=3)]), BadCheckpoint, "expected a matrix"),
    "tensor_twice": (
        container(rows=[tensor_row(), tensor_row(offset=256)], data=bytes(512)),
        BadCheckpoint,
        "the tensor 't' appears twice",
    ),
    "overlap": (
        container(rows=[tensor_row(), tensor_row(b"u", offset=128)], data=bytes(512)),
        BadCheckpoint,
        "the tensor 'u' overlaps the one before it",
    ),
}


@pytest.mark.parametrize(("content", "kind", "message"), DEFECTS.values(), ids=DEFECTS)
def test_rejects(tmp_path, content, kind, message):
    path = tmp_path / "m.gguf"
    path.write_bytes(content)
    with pytest.raises(FeatherweightError) as error:
        open_gguf(path)
    assert type(error.value) is kind
    assert message in str(error.value)
    assert str(error.value).startswith(str(path))
    assert "\n" not in str(error.value)
    assert len(str(error.value)) < 500


def test_rejects_a_million_tensors_before_it_reads_them(tmp_path):
    path = tmp_path / "m.gguf"
    path.write_bytes(container(row_count=1_000_000))
    with path.open("r+b") as file:
        file.truncate(24_000_100)
    with pytest.raises(BadCheckpoint, match="lists 1000000 tensors, expected at most 131072"):
        open_gguf(path)


def test_accepts_the_container_that_the_defects_start_from(tmp_path):
    rows = [tensor_row(b"u", offset=256), tensor_row()]
    (tmp_path / "m.gguf").write_bytes(container([key_value(b"k", STRING, string(b"v"))], rows, bytes(512)))
    gguf_file = open_gguf(tmp_path / "m.gguf")
    assert gguf_file.metadata.text("k") == "v"
    assert [tensor.shape for tensor in gguf_file.tensors.values()] == [(2, 32), (2, 32)]


@settings(max_examples=400, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_damaged_file_is_read_or_refused_never_anything_else(tmp_path, write_gguf, data):
    sound, path = tmp_path / "sound.gguf", tmp_path / "m.gguf"
    if not sound.exists():
        write_gguf(sound, "Q4_1")
    damaged = bytearray(sound.read_bytes())
    header_bytes = 3000  # The tables: the weights behind them mean something whatever they are.
    for _ in range(data.draw(st.integers(1, 4))):
        damaged[data.draw(st.integers(0, header_bytes))] = data.draw(st.integers(0, 255))
    path.write_bytes(damaged[: data.draw(st.integers(0, len(damaged)) | st.just(len(damaged)))])
    message = ""
    try:
        container_file = open_gguf(path)
        config, tensors = hugging_face_view(container_file)
        tokenizer_files(container_file.metadata, vocab_size=config["vocab_size"])
    except FeatherweightError as error:
        message = str(error)
    else:
        for tensor in tensors.values():
            assert tensor.read().shape == tensor.shape
        container_file.file.close()
    assert "\n" not in message
