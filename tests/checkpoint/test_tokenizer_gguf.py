"""Tokenizers rebuilt from GGUF metadata."""

import json
import math
from pathlib import Path

import pytest
from tokenizers import Tokenizer

from convert.checkpoint.gguf import open_gguf
from convert.checkpoint.tokenizer_gguf import generation_ids, tokenizer_files
from convert.errors import BadCheckpoint, FeatherweightError, UnsupportedModel

REFERENCE = json.loads((Path(__file__).parent.parent / "data" / "smollm2_reference.json").read_text())
VOCAB_SIZE = 20


@pytest.fixture
def files(tmp_path, write_gguf):
    """Writes a toy llama with changed metadata and rebuilds its tokenizer files."""

    def build(**changes):
        path = write_gguf(tmp_path / "m.gguf", change=lambda metadata, tensors: metadata.update(renamed(changes)))
        return tokenizer_files(open_gguf(path).metadata, vocab_size=VOCAB_SIZE)

    return build


def renamed(changes):
    return {f"tokenizer.ggml.{key}": value for key, value in changes.items()}


def test_smollm2_gives_the_ids_of_the_reference(smollm2_checkpoint):
    tokenizer = Tokenizer.from_str(smollm2_checkpoint.files["tokenizer.json"].decode())
    for result in REFERENCE["results"]:
        assert tokenizer.encode(result["prompt"]).ids == result["prompt_token_ids"]
        assert tokenizer.decode(result["greedy_token_ids"], skip_special_tokens=False) == result["greedy_text"]


def test_smollm2_cuts_digits_one_by_one_and_keeps_every_byte(smollm2_checkpoint):
    tokenizer = Tokenizer.from_str(smollm2_checkpoint.files["tokenizer.json"].decode())
    assert tokenizer.encode("2024").tokens == ["2", "0", "2", "4"]
    text = "Grüße, 世界! 🙂\n\tdef f(x):  return x**2 <|im_end|>"
    assert tokenizer.decode(tokenizer.encode(text).ids, skip_special_tokens=False) == text
    assert tokenizer.decode(tokenizer.encode("<|im_start|>user").ids) == "user"


def test_smollm2_files_say_what_generation_needs(smollm2_checkpoint):
    files = smollm2_checkpoint.files
    assert json.loads(files["generation_config.json"]) == {"bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 2}
    named = {"bos_token": "<|im_start|>", "eos_token": "<|im_end|>", "pad_token": "<|im_end|>"}
    assert json.loads(files["special_tokens_map.json"]) == named | {"unk_token": "<|endoftext|>"}
    config = json.loads(files["tokenizer_config.json"])
    assert config["tokenizer_class"] == "PreTrainedTokenizerFast"
    assert config["model_max_length"] == 8192
    assert config["added_tokens_decoder"]["2"]["content"] == "<|im_end|>"
    assert config["chat_template"].encode() == files["chat_template.jinja"]
    assert "<|im_start|>assistant" in config["chat_template"]
    assert smollm2_checkpoint.config["eos_token_id"] == 2


def test_same_bytes_every_time(files):
    assert files() == files()


def test_merges_and_added_tokens_work(files):
    tokenizer = Tokenizer.from_str(files()["tokenizer.json"].decode())
    assert tokenizer.encode("hello hello12").tokens == ["hello", "Ġhello", "1", "2"]
    added = tokenizer.get_added_tokens_decoder()
    assert {token_id: token.special for token_id, token in added.items()} == {0: True, 1: True, 2: True, 3: False}
    assert tokenizer.encode("hello<think></s>").ids == [16, 3, 2]
    assert tokenizer.get_vocab_size() == VOCAB_SIZE


def test_frame_is_added_only_when_asked(files):
    bare = Tokenizer.from_str(files()["tokenizer.json"].decode())
    framed = Tokenizer.from_str(files(add_bos_token=True, add_eos_token=True)["tokenizer.json"].decode())
    assert bare.encode("hello").ids == [16]
    assert framed.encode("hello").ids == [1, 16, 2]
    assert framed.encode("hello", "hello").ids == [1, 16, 2, 1, 16, 2]


def test_end_of_turn_ends_generation_too(tmp_path, write_gguf):
    change = renamed({"eot_token_id": 3})
    path = write_gguf(tmp_path / "m.gguf", change=lambda metadata, tensors: metadata.update(change))
    assert generation_ids(open_gguf(path).metadata) == {"bos_token_id": 1, "eos_token_id": [2, 3]}


@pytest.mark.parametrize(
    ("pre", "pieces"),
    [
        ("gpt-2", ["Hi", "Ġ", "Ġ1234", "'s", "Ċ", "Ċ", "x"]),
        ("smollm", ["Hi", "ĠĠ", "1", "2", "3", "4", "'s", "Ċ", "Ċ", "x"]),
        ("llama-bpe", ["Hi", "Ġ", "Ġ", "123", "4", "'s", "ĊĊ", "x"]),
        ("smaug-bpe", ["Hi", "Ġ", "Ġ", "123", "4", "'s", "ĊĊ", "x"]),
        ("dbrx", ["Hi", "Ġ", "Ġ", "123", "4", "'s", "ĊĊ", "x"]),
        ("qwen2", ["Hi", "Ġ", "Ġ", "1", "2", "3", "4", "'s", "ĊĊ", "x"]),
        ("gpt-4o", ["Hi", "Ġ", "Ġ", "123", "4", "'s", "ĊĊ", "x"]),
    ],
)
def test_pre_tokenizers_cut_as_the_originals(files, pre, pieces):
    tokenizer = Tokenizer.from_str(files(pre=pre)["tokenizer.json"].decode())
    assert [piece for piece, _ in tokenizer.pre_tokenizer.pre_tokenize_str("Hi  1234's\n\nx")] == pieces


@pytest.mark.parametrize(
    ("changes", "kind", "message"),
    [
        ({"model": "bert"}, UnsupportedModel, "kind 'bert', expected gpt2 or llama"),
        ({"model": "llama"}, BadCheckpoint, "'tokenizer.ggml.scores' is missing"),
        ({"model": "llama", "scores": [1.0]}, BadCheckpoint, "has 1 scores for 20 tokens"),
        ({"model": "llama", "scores": [math.nan] * 20}, BadCheckpoint, "expected an array of finite numbers"),
        ({"pre": "poro"}, UnsupportedModel, "pre-tokenizer 'poro', expected one of gpt-2, smollm, llama-bpe"),
        ({"pre": 7}, BadCheckpoint, "expected a string"),
        ({"tokens": ["a"] * 20}, BadCheckpoint, "the same token twice"),
        ({"tokens": [str(index) for index in range(21)]}, BadCheckpoint, "has 21 tokens, expected 1 to 20"),
        ({"token_type": [1]}, BadCheckpoint, "has 1 token types for 20 tokens"),
        ({"merges": ["h x"]}, BadCheckpoint, "the merge 'h x' does not join"),
        ({"merges": ["h"]}, BadCheckpoint, "the merge 'h' does not join"),
        ({"merges": ["h e l"]}, BadCheckpoint, "the merge 'h e l' does not join"),
        ({"merges": ["a b"]}, BadCheckpoint, "the merge 'a b' does not join"),
        ({"bos_token_id": 20}, BadCheckpoint, "bos_token_id is 20, expected one of the 20 tokens"),
        ({"add_bos_token": 1}, BadCheckpoint, "expected true or false"),
    ],
)
def test_rejects(files, changes, kind, message):
    with pytest.raises(FeatherweightError) as error:
        files(**changes)
    assert type(error.value) is kind
    assert message in str(error.value)
    assert "\n" not in str(error.value)
