"""The directory source."""

import hashlib
import json

import numpy as np
import pytest
from safetensors.numpy import save_file

from convert.errors import BadCheckpoint, FeatherweightError, SourceNotFound, UnsupportedModel
from convert.sources import resolve


@pytest.fixture
def open_directory(checkpoint_directory, progress):
    return lambda: resolve(str(checkpoint_directory), revision=None, progress=progress)


def test_opens_tensors_config_and_files_as_they_are(open_directory, checkpoint_directory):
    (checkpoint_directory / "generation_config.json").write_bytes(b'{"eos_token_id":   1}\n')
    (checkpoint_directory / "chat_template.jinja").write_bytes(b"{{ x }}\r\n")
    (checkpoint_directory / "training_args.bin").write_bytes(b"pickled")
    with open_directory() as checkpoint:
        assert checkpoint.tensors["a.weight"].read().tolist() == [[0, 1, 2], [3, 4, 5]]
        assert checkpoint.config == {"model_type": "toy", "max_position_embeddings": 77}
        assert dict(checkpoint.files) == {
            "tokenizer.json": b'{"version":  "1.0"}',
            "tokenizer_config.json": b"{}",
            "generation_config.json": b'{"eos_token_id":   1}\n',
            "chat_template.jinja": b"{{ x }}\r\n",
        }
        assert (checkpoint.name, checkpoint.license, checkpoint.pooling) == ("toy-model", "unknown", None)


def test_provenance_is_the_hash_of_the_files_and_names_no_path(open_directory, checkpoint_directory, progress):
    names = ["config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json"]
    digests = [hashlib.sha256((checkpoint_directory / name).read_bytes()).hexdigest() for name in names]
    listing = "".join(f"{digest}  {name}\n" for digest, name in zip(digests, names, strict=True))
    with open_directory() as checkpoint:
        revision = f"sha256:{hashlib.sha256(listing.encode()).hexdigest()}"
        assert checkpoint.provenance == {"kind": "safetensors", "name": "toy-model", "revision": revision}
    total = sum((checkpoint_directory / name).stat().st_size for name in names)
    assert progress.phases == [("fingerprint", total)]
    assert progress.done_bytes == {"fingerprint": total}


def test_opens_shards_and_a_lone_file_of_another_name(open_directory, checkpoint_directory):
    (checkpoint_directory / "model.safetensors").rename(checkpoint_directory / "model-00001-of-00001.safetensors")
    with open_directory() as checkpoint:
        assert list(checkpoint.tensors) == ["a.weight"]
    index = {"weight_map": {"a.weight": "model-00001-of-00001.safetensors"}}
    (checkpoint_directory / "model.safetensors.index.json").write_text(json.dumps(index))
    with open_directory() as checkpoint:
        assert checkpoint.tensors["a.weight"].shape == (2, 3)


@pytest.mark.parametrize(
    ("readme", "expected"),
    [
        ("---\nlanguage: en\nlicense: apache-2.0\n---\n# T", "apache-2.0"),
        ("---\r\nlicense: MIT\r\n---\r\n", "mit"),
        ('---\nlicense: "cc-by-4.0"\n---\n', "cc-by-4.0"),
        ("---\nlicense:\n- mit\n---\n", "mit"),
        ("---\ntags:\n- x\n---\nlicense: mit\n", "unknown"),
        ("# T\nlicense: mit\n", "unknown"),
        ("---\nlicense: <script>\n---\n", "unknown"),
        ("", "unknown"),
    ],
)
def test_license_comes_from_the_front_matter(open_directory, checkpoint_directory, readme, expected):
    (checkpoint_directory / "README.md").write_bytes(readme.encode())
    with open_directory() as checkpoint:
        assert checkpoint.license == expected


def write_modules(directory, kinds, pooling, sentence=None):
    paths = {"Transformer": "", "Pooling": "1_Pooling", "Normalize": "2_Normalize", "Dense": "2_Dense"}
    modules = [{"type": f"sentence_transformers.models.{kind}", "path": paths[kind]} for kind in kinds]
    (directory / "modules.json").write_text(json.dumps(modules))
    (directory / "1_Pooling").mkdir()
    (directory / "1_Pooling" / "config.json").write_text(json.dumps(pooling))
    if sentence is not None:
        (directory / "sentence_bert_config.json").write_text(json.dumps(sentence))


MEAN = {"word_embedding_dimension": 3, "pooling_mode_mean_tokens": True, "pooling_mode_cls_token": False}
CLS = {"pooling_mode_mean_tokens": False, "pooling_mode_cls_token": True, "include_prompt": True}
CHAIN = ["Transformer", "Pooling"]


@pytest.mark.parametrize(
    ("kinds", "pooling", "sentence", "expected"),
    [
        ([*CHAIN, "Normalize"], MEAN, {"max_seq_length": 12}, ("mean", True, 12)),
        (CHAIN, CLS, {"max_seq_length": None}, ("cls", False, 77)),
        (CHAIN, {"pooling_mode": "mean"}, None, ("mean", False, 77)),
    ],
)
def test_pooling_is_read(open_directory, checkpoint_directory, kinds, pooling, sentence, expected):
    write_modules(checkpoint_directory, kinds, pooling, sentence)
    with open_directory() as checkpoint:
        assert checkpoint.pooling == dict(zip(("mode", "normalize", "max_tokens"), expected, strict=True))


@pytest.mark.parametrize(
    ("kinds", "pooling", "sentence", "message"),
    [
        ([*CHAIN, "Dense"], MEAN, None, "chains 'Transformer > Pooling > Dense'"),
        (CHAIN, MEAN | CLS | {"pooling_mode_mean_tokens": True}, None, "expected mean or cls alone"),
        (CHAIN, {"pooling_mode_max_tokens": True}, None, "asks for the pooling 'pooling_mode_max_tokens'"),
        (CHAIN, {"pooling_mode": "lasttoken"}, None, "asks for the pooling 'lasttoken'"),
        (CHAIN, {}, None, "asks for the pooling ''"),
        (CHAIN, MEAN, {"max_seq_length": "x"}, "max_seq_length is 'x'"),
        (CHAIN, MEAN, {"max_seq_length": 0}, "max_seq_length is 0"),
    ],
)
def test_rejects_pooling(open_directory, checkpoint_directory, kinds, pooling, sentence, message):
    write_modules(checkpoint_directory, kinds, pooling, sentence)
    with pytest.raises(FeatherweightError) as error:
        open_directory()
    assert message in str(error.value)


@pytest.mark.parametrize("modules", ["{", "{}", "[1]", '[{"type": "x"}]', "null"])
def test_rejects_damaged_modules(open_directory, checkpoint_directory, modules):
    (checkpoint_directory / "modules.json").write_text(modules)
    with pytest.raises(FeatherweightError, match=r"modules\.json"):
        open_directory()


def test_rejects_pooling_folder_outside(open_directory, checkpoint_directory):
    modules = [{"type": "x.Transformer", "path": ""}, {"type": "x.Pooling", "path": "../elsewhere"}]
    (checkpoint_directory / "modules.json").write_text(json.dumps(modules))
    with pytest.raises(BadCheckpoint, match="leads outside the directory"):
        open_directory()


@pytest.mark.parametrize("name", ["config.json", "tokenizer.json", "tokenizer_config.json"])
def test_rejects_missing_file(open_directory, checkpoint_directory, name):
    (checkpoint_directory / name).unlink()
    with pytest.raises(BadCheckpoint, match=f"{name}: is missing"):
        open_directory()


@pytest.mark.parametrize(
    "content", [b"[]", b"{", b"{}", b'{"model_type": 1}', b'{"model_type": "a", "x": NaN}', b"\xff"]
)
def test_rejects_config(open_directory, checkpoint_directory, content):
    (checkpoint_directory / "config.json").write_bytes(content)
    with pytest.raises(BadCheckpoint, match=r"config\.json"):
        open_directory()


def test_rejects_pickle_when_there_are_no_safetensors(open_directory, checkpoint_directory):
    (checkpoint_directory / "model.safetensors").rename(checkpoint_directory / "pytorch_model.bin")
    with pytest.raises(
        UnsupportedModel, match=r"pytorch_model\.bin: is a pickle file, .* save the model as safetensors"
    ):
        open_directory()


def test_rejects_directory_without_weights(open_directory, checkpoint_directory):
    (checkpoint_directory / "model.safetensors").unlink()
    with pytest.raises(SourceNotFound, match=r"holds no \*\.safetensors, expected model\.safetensors"):
        open_directory()
    (checkpoint_directory / "toy.gguf").touch()
    with pytest.raises(SourceNotFound, match=r"name the file 'toy\.gguf'"):
        open_directory()


def test_rejects_several_unrelated_weight_files(open_directory, checkpoint_directory):
    (checkpoint_directory / "model.safetensors").rename(checkpoint_directory / "a.safetensors")
    save_file({"b": np.ones(1, np.float32)}, checkpoint_directory / "b.safetensors")
    with pytest.raises(UnsupportedModel, match="holds 2 safetensors files"):
        open_directory()


@pytest.mark.parametrize("name", ["config.json", "model.safetensors", "tokenizer.json", "README.md"])
def test_rejects_link_that_leads_outside(open_directory, checkpoint_directory, name):
    outside = checkpoint_directory.parent / "outside"
    (checkpoint_directory / "README.md").touch()
    (checkpoint_directory / name).rename(outside)
    (checkpoint_directory / name).symlink_to(outside)
    with pytest.raises(BadCheckpoint, match="is a link to a file outside"):
        open_directory()
