"""SentencePiece vocabularies of GGUF files cut text as llama.cpp does."""

import json
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from tokenizers import Tokenizer

from convert.checkpoint.gguf_metadata import Metadata
from convert.checkpoint.tokenizer_gguf import tokenizer_files

ENGLISH = (Path(__file__).parent.parent / "data" / "english.txt").read_text()[:6000]
BYTES = [f"<0x{value:02X}>" for value in range(256)]


def vocabulary() -> tuple[list[str], list[float], list[int]]:
    """Control tokens, a user-defined one, bytes, the letters of a text and 600 pieces of it with distinct scores."""
    random = np.random.default_rng(2)
    text = ENGLISH.replace(" ", "▁").replace("\n", "▁")
    letters = sorted(set(text))
    cuts = random.integers([0, 2], [5000, 7], (4000, 2)).tolist()
    pieces = dict.fromkeys(text[start : start + length] for start, length in cuts)
    # Pieces of every length, the short ones with better scores, as training makes them.
    chosen = sorted(list(pieces)[:600], key=len)
    tokens = ["<unk>", "<s>", "</s>", "<turn>", *BYTES, *letters, *chosen]
    types = [2, 3, 3, 4, *[6] * 256, *[1] * (len(letters) + len(chosen))]
    scores = [0.0] * (260 + len(letters)) + [-1.0 - index for index in range(len(chosen))]
    return tokens, scores, types


def greedy(text: str, tokens: list[str], scores: list[float], types: list[int]) -> list[int]:
    """As llm_tokenizer_spm of llama.cpp: join the neighbours whose union scores best, the leftmost first."""
    ids = {token: index for index, token in enumerate(tokens) if types[index] == 1}
    symbols = list(text)
    while True:
        unions = [(ids.get(left + right, -1), at) for at, (left, right) in enumerate(pairwise(symbols))]
        possible = [(-scores[token], at) for token, at in unions if token >= 0]
        if not possible:
            break
        at = min(possible)[1]
        symbols[at : at + 2] = [symbols[at] + symbols[at + 1]]
    found = []
    for symbol in symbols:
        found += [ids[symbol]] if symbol in ids else [tokens.index(BYTES[byte]) for byte in symbol.encode()]
    return found


def rebuilt(**changes) -> Tokenizer:
    tokens, scores, types = vocabulary()
    values = {
        "general.architecture": "gemma",
        "gemma.context_length": 64,
        "tokenizer.ggml.model": "llama",
        "tokenizer.ggml.tokens": tokens,
        "tokenizer.ggml.scores": scores,
        "tokenizer.ggml.token_type": types,
        "tokenizer.ggml.bos_token_id": 1,
        "tokenizer.ggml.eos_token_id": 2,
        "tokenizer.ggml.unknown_token_id": 0,
        "tokenizer.ggml.add_space_prefix": False,
    }
    metadata = Metadata(Path("toy.gguf"), values | {f"tokenizer.ggml.{key}": value for key, value in changes.items()})
    return Tokenizer.from_str(tokenizer_files(metadata, vocab_size=len(tokens) + 3)["tokenizer.json"].decode())


@pytest.mark.parametrize("prefixed", [False, True])
def test_cuts_as_llama_cpp(prefixed):
    tokenizer, parts = rebuilt(add_space_prefix=prefixed), vocabulary()
    lines = [line for line in ENGLISH[3000:].splitlines() if line][:20]
    for line in (*lines, "Grüße, 世界! 🙂", "  two  spaces ", "x"):
        marked = ("▁" if prefixed else "") + line.replace(" ", "▁")
        encoded = tokenizer.encode(line)
        assert encoded.ids == [1, *greedy(marked, *parts)]
        assert tokenizer.decode(encoded.ids) == line


def test_bos_frames_texts_unless_the_file_says_no():
    assert rebuilt().encode("a").ids[0] == 1
    assert rebuilt(add_bos_token=False).encode("a").ids[0] != 1


def test_user_defined_tokens_are_never_cut():
    tokenizer = rebuilt()
    assert tokenizer.encode("a<turn>b").tokens[1:] == ["a", "<turn>", "b"]
    assert tokenizer.decode(tokenizer.encode("a<turn>b").ids) == "a<turn>b"
    assert tokenizer.decode(tokenizer.encode("a</s>b").ids) == "ab"


def test_spaces_that_the_user_defined_become_one_token():
    tokens, scores, types = vocabulary()
    runs = ["▁" * count for count in (2, 3, 4)]
    tokens = [token for token in tokens if token not in runs]
    scores, types = scores[: len(tokens)], types[: len(tokens)]
    changes = {"tokens": tokens + runs, "scores": scores + [-1000.0] * 3, "token_type": types + [4] * 3}
    assert rebuilt(**changes).encode("a   b").tokens[1:] == ["a", "▁▁▁", "b"]


def test_files_are_those_that_clients_read():
    description = json.loads(rebuilt().to_str())
    assert description["model"]["byte_fallback"] is True
    assert description["model"]["unk_token"] == "<unk>"
    assert {token["content"]: token["special"] for token in description["added_tokens"]} == {
        "<s>": True,
        "</s>": True,
        "<turn>": False,
    }
