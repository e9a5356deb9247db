"""The manifest: what is written can be read, twice the same, and nothing that contradicts itself gets through."""

import copy
import hashlib
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from convert import manifest
from convert.dtypes import Dtype
from convert.errors import BadModelDirectory
from convert.shards import CHUNK_BYTES, FileEntry

SCHEMA = json.loads((Path(manifest.__file__).parent / "manifest.schema.json").read_text())


def entry(path: str, size_bytes: int = 10) -> FileEntry:
    digest = hashlib.sha256(path.encode()).hexdigest()
    return FileEntry(path, size_bytes, digest, (digest,) * -(-size_bytes // CHUNK_BYTES))


def model(**changes: Any) -> manifest.Model:
    facts: dict[str, Any] = {
        "id": "tiny",
        "name": "Tiny \u00e9",
        "family": "llama",
        "task": "text-generation",
        "parameters": 135,
        "license": "apache-2.0",
        "context_length": 64,
        "vocab_size": 301,
        "kv_cache": manifest.KvCache(layers=3, kv_heads=2, head_dim=32),
    }
    return manifest.Model(**(facts | changes))


def variant(dtype: Dtype, **changes: Any) -> manifest.VariantSpec:
    graph = f"onnx/model{dtype.suffix}.onnx"
    facts: dict[str, Any] = {
        "dtype": dtype,
        "block_size": 32 if dtype.linear_bits else None,
        "lossless_import": False,
        "graph": graph,
        "shards": (f"{graph}_data", f"{graph}_data_1"),
        "weight_bytes": 900,
        "largest_tensor_bytes": 700,
        "cost": manifest.Cost(
            per_token={"linear_4bit": manifest.OperatorCost(bytes=5, macs=9)},
            steps=40,
            kv_bytes_per_token=768,
            activation_bytes_per_token=400,
        ),
    }
    return manifest.VariantSpec(**(facts | changes))


def built(**changes: Any) -> manifest.Manifest:
    variants = [variant(Dtype.Q4), variant(Dtype.FP32)]
    sizes = {"onnx/model_q4.onnx_data": CHUNK_BYTES + 1, "onnx/model.onnx_data": 3 * CHUNK_BYTES}
    files = ["tokenizer.json", "config.json", *(path for item in variants for path in (item.graph, *item.shards))]
    parts: dict[str, Any] = {
        "model": model(),
        "source": {"kind": "bundled", "name": "tiny", "revision": "sha256:0"},
        "files": [entry(path, sizes.get(path, 10)) for path in files],
        "variants": variants,
        "quality": {"q4": {"perplexity": 21.25, "text": "english.txt"}},
    }
    return manifest.build(**(parts | changes))


def test_roundtrip(tmp_path: Path) -> None:
    first = built()
    path = manifest.write(first, tmp_path)
    assert path == tmp_path / "manifest.json"
    assert manifest.load(path) == manifest.load(tmp_path) == first
    assert path.read_bytes() == first.to_bytes()


def test_roundtrip_of_an_encoder() -> None:
    pooling = manifest.Pooling(mode="mean", normalize=True, max_tokens=256)
    first = built(model=model(kv_cache=None, pooling=pooling, labels=("NO", "YES"), task="text-classification"))
    assert manifest.parse(first.to_bytes()) == first
    assert first.model.labels == ("NO", "YES")


def test_roundtrip_of_an_encoder_decoder() -> None:
    cost = manifest.Cost(per_token={}, steps=7, kv_bytes_per_token=0, activation_bytes_per_token=9)
    encoder = manifest.GraphSpec(graph="onnx/encoder_q4.onnx", shards=("onnx/encoder_q4.onnx_data",), cost=cost)
    own = variant(Dtype.Q4, encoder=encoder)
    files = [entry(path) for path in ("config.json", *own.own_files)]
    first = built(variants=[own], files=files, quality={})
    assert manifest.parse(first.to_bytes()) == first
    onnx = "onnx/model_q4.onnx"
    assert first.variant("q4").files == (
        "config.json",
        encoder.graph,
        *encoder.shards,
        onnx,
        f"{onnx}_data",
        f"{onnx}_data_1",
    )
    assert [item.graph for item in first.variant("q4").graphs] == [encoder.graph, onnx]
    document = first.to_dict()
    document["variants"][0]["encoder"]["shards"].append("onnx/none")
    with pytest.raises(BadModelDirectory, match="'onnx/none' is not in"):
        manifest.parse(json.dumps(document).encode())


def test_reads_manifests_from_before_there_were_encoder_decoders() -> None:
    document = built().to_dict()
    for item in document["variants"]:
        del item["encoder"]
    assert manifest.parse(json.dumps(document).encode()) == built()


def test_measured_quality_is_written_as_the_browser_reads_it() -> None:
    golden = (Path(__file__).parent / "data" / "measured_manifest.json").read_bytes()
    content = manifest.parse(golden)
    assert content.quality["q4"]["mean_kl_nats"] == 0.1068
    assert built(quality=content.quality).to_bytes() == golden


def test_same_content_gives_the_same_bytes_whatever_the_order() -> None:
    first = built()
    files, source = list(first.files.values()), dict(first.source)
    again = built(files=files[::-1], source=dict(reversed(source.items())))
    assert again.to_bytes() == first.to_bytes()


def test_bytes_are_sorted_indented_by_one_and_end_in_a_newline() -> None:
    content = built().to_bytes()
    document = json.loads(content)
    assert content == (json.dumps(document, sort_keys=True, indent=1, ensure_ascii=False) + "\n").encode()
    assert document == built().to_dict()


def test_clients_fetch_small_files_then_graph_then_shards() -> None:
    q4 = built().variant("q4")
    onnx = "onnx/model_q4.onnx"
    assert q4.files == ("config.json", "tokenizer.json", onnx, f"{onnx}_data", f"{onnx}_data_1")
    assert q4.download_bytes == 4 * 10 + CHUNK_BYTES + 1


def test_unknown_variant_names_those_that_exist() -> None:
    with pytest.raises(BadModelDirectory, match="no variant 'q8'; it has: q4, fp32"):
        built().variant("q8")


def test_revision_is_the_hash_of_the_bytes(tmp_path: Path) -> None:
    path = manifest.write(built(), tmp_path)
    expected = hashlib.sha256(path.read_bytes()).hexdigest()
    assert manifest.revision(path) == manifest.revision(tmp_path) == manifest.revision(path.read_bytes()) == expected


def test_write_leaves_no_temporary_file_behind(tmp_path: Path) -> None:
    manifest.write(built(), tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["manifest.json"]
    (tmp_path / "blocked").mkdir()
    (tmp_path / "blocked" / "manifest.json").mkdir()  # a directory cannot be replaced by a file
    with pytest.raises(OSError, match="irectory"):
        manifest.write(built(), tmp_path / "blocked")
    assert [path.name for path in (tmp_path / "blocked").iterdir()] == ["manifest.json"]


def test_schema_is_a_schema_and_forbids_what_it_does_not_know() -> None:
    jsonschema.Draft202012Validator.check_schema(SCHEMA)

    def closed(part: Any, place: str) -> None:
        if isinstance(part, dict):
            kinds = part.get("type")
            if "object" in (kinds if isinstance(kinds, list) else [kinds]):
                assert part.get("additionalProperties") is not None, place
                assert part["additionalProperties"] is not True, place
            for key, value in part.items():
                closed(value, f"{place}/{key}")

    closed(SCHEMA, "#")


def at(document: Any, *path: Any) -> Any:
    for key in path:
        document = document[key]
    return document


def put(value: Any, *path: Any) -> Callable[[Any], None]:
    def change(document: Any) -> None:
        at(document, *path[:-1])[path[-1]] = value

    return change


def drop(*path: Any) -> Callable[[Any], None]:
    def change(document: Any) -> None:
        del at(document, *path[:-1])[path[-1]]

    return change


def rename(old: str, new: str) -> Callable[[Any], None]:
    """Rename a file everywhere, so that only its name is wrong."""

    def change(document: Any) -> None:
        document["files"][new] = document["files"].pop(old)
        for each in document["variants"]:
            each["files"] = [new if path == old else path for path in each["files"]]

    return change


def add_extra_file(document: Any) -> None:
    document["files"]["extra.bin"] = document["files"]["config.json"]


DEFECTS: dict[str, tuple[Callable[[Any], None], str]] = {
    "other_format": (put("onnx", "format"), "format"),
    "later_version": (put(2, "version"), "version 2 is not known"),
    "boolean_version": (put(True, "version"), "version"),
    "other_chunk_size": (put(4096, "chunk_size"), "chunk_size"),
    "missing_model": (drop("model"), "'model' is a required property"),
    "unknown_key": (put(1, "surprise"), "surprise"),
    "unknown_key_in_model": (put(1, "model", "surprise"), "surprise"),
    "unknown_key_in_variant": (put(1, "variants", 0, "surprise"), "surprise"),
    "unknown_key_in_file": (put(1, "files", "config.json", "surprise"), "surprise"),
    "missing_key_in_cost": (drop("variants", 0, "cost", "steps"), "steps"),
    "empty_name": (put("", "model", "name"), "model.name"),
    "id_with_slash": (put("a/b", "model", "id"), "model.id"),
    "id_with_newline": (put("a\n", "model", "id"), "model.id"),
    "no_parameters": (put(0, "model", "parameters"), "model.parameters"),
    "fractional_size": (put(10.0, "files", "config.json", "size_bytes"), "size_bytes"),
    "boolean_size": (put(True, "files", "config.json", "size_bytes"), "size_bytes"),
    "negative_size": (put(-1, "files", "config.json", "size_bytes"), "size_bytes"),
    "size_beyond_javascript": (put(2**53, "files", "config.json", "size_bytes"), "size_bytes"),
    "upper_case_hash": (put("A" * 64, "files", "config.json", "sha256"), "sha256"),
    "short_hash": (put("a" * 63, "files", "config.json", "sha256"), "sha256"),
    "hash_with_newline": (put("a" * 64 + "\n", "files", "config.json", "sha256"), "sha256"),
    "one_chunk_too_many": (put(["a" * 64] * 2, "files", "config.json", "chunks"), "make 1 chunks, but 2"),
    "no_chunks": (put([], "files", "config.json", "chunks"), "make 1 chunks, but 0"),
    "size_unlike_chunks": (put(CHUNK_BYTES + 1, "files", "config.json", "size_bytes"), "make 2 chunks, but 1"),
    "parent_path": (rename("config.json", "../config.json"), "files"),
    "inner_parent_path": (rename("config.json", "onnx/../config.json"), "files"),
    "absolute_path": (rename("config.json", "/config.json"), "files"),
    "backslash_path": (rename("config.json", "onnx\\config.json"), "files"),
    "drive_path": (rename("config.json", "c:config.json"), "files"),
    "empty_segment": (rename("config.json", "onnx//config.json"), "files"),
    "hidden_file": (rename("config.json", ".config.json"), "files"),
    "path_with_newline": (rename("config.json", "config.json\n"), "files"),
    "path_of_the_manifest": (rename("config.json", "manifest.json"), "manifest.json"),
    "file_that_is_a_folder": (rename("config.json", "onnx"), "'onnx' is a file and a folder"),
    "no_variants": (put([], "variants"), "variants"),
    "unknown_dtype": (put("q3", "variants", 0, "dtype"), "q3"),
    "dtype_twice": (put("fp32", "variants", 0, "dtype"), "listed twice"),
    "odd_block_size": (put(33, "variants", 0, "block_size"), "block_size"),
    "missing_file": (drop("files", "config.json"), "'config.json' is not in"),
    "missing_shard": (put(["onnx/none"], "variants", 0, "shards"), "'onnx/none' is not in"),
    "shard_not_fetched": (put(["config.json", "tokenizer.json"], "variants", 0, "files"), "not in the variant's files"),
    "download_bytes_too_few": (put(1, "variants", 0, "download_bytes"), "download_bytes is 1"),
    "no_largest_tensor": (drop("variants", 0, "largest_tensor_bytes"), "largest_tensor_bytes"),
    "tensor_larger_than_all": (put(901, "variants", 0, "largest_tensor_bytes"), "largest_tensor_bytes is 901"),
    "file_of_no_variant": (add_extra_file, "'extra.bin'.*no variant uses it"),
    "unknown_pooling": (put({"mode": "max", "normalize": True, "max_tokens": 9}, "model", "pooling"), "pooling"),
    "labels_twice": (put(["A", "A"], "model", "labels"), "labels"),
    "negative_cost": (put(-1, "variants", 0, "cost", "per_token", "linear_4bit", "macs"), "macs"),
    "quality_of_unknown_dtype": (put({"q3": {}}, "quality"), "quality"),
}


@pytest.mark.parametrize("defect", DEFECTS)
def test_rejects(defect: str) -> None:
    change, said = DEFECTS[defect]
    document = copy.deepcopy(built().to_dict())
    change(document)
    with pytest.raises(BadModelDirectory, match=said.replace("[", r"\[")) as raised:
        manifest.parse(json.dumps(document).encode(), "models/tiny/manifest.json")
    assert str(raised.value).startswith("models/tiny/manifest.json: ")
    assert "\n" not in str(raised.value).replace("\\n", "")


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"[]",
        b"null",
        b"\xff\xfe",
        b"[" * 100_000,
        b'{"format": NaN}',
        b'{"a": 1, "a": 1}',
        b"<!doctype html>",
    ],
    ids=["empty", "cut", "list", "null", "not_utf8", "deep", "nan", "duplicate_key", "html"],
)
def test_rejects_what_is_no_json_object(content: bytes) -> None:
    with pytest.raises(BadModelDirectory, match="convert the model again"):
        manifest.parse(content)


def test_rejects_a_manifest_that_is_missing_too_long_or_no_file(tmp_path: Path) -> None:
    with pytest.raises(BadModelDirectory, match="not found"):
        manifest.load(tmp_path)
    (tmp_path / "manifest.json").write_bytes(b" " * (manifest.LIMIT_BYTES + 1))
    with pytest.raises(BadModelDirectory, match="longer than 8388608 bytes"):
        manifest.load(tmp_path)
    (tmp_path / "manifest.json").unlink()
    (tmp_path / "manifest.json").mkdir()
    with pytest.raises(BadModelDirectory, match="not found"):
        manifest.load(tmp_path)


def test_build_refuses_a_variant_whose_files_were_not_written() -> None:
    with pytest.raises(BadModelDirectory, match=r"model_q4.onnx"):
        built(files=[entry("config.json")])


def test_only_our_own_manifests_make_a_model_directory(tmp_path: Path) -> None:
    assert not manifest.is_model_directory(tmp_path)
    (tmp_path / "manifest.json").write_text('{"name": "a web app", "icons": []}')
    assert not manifest.is_model_directory(tmp_path)
    manifest.write(built(), tmp_path)
    assert manifest.is_model_directory(tmp_path)


def test_import_brings_no_heavy_package() -> None:
    heavy = {"numpy", "onnx", "onnxruntime", "jsonschema"}
    code = f"import sys, convert.manifest; print(*sorted({heavy} & set(sys.modules)))"
    root = Path(manifest.__file__).parents[2]
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True, cwd=root)
    assert done.stdout.strip() == ""
