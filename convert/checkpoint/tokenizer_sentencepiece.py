"""Owns SentencePiece vocabularies of GGUF files (``tokenizer.ggml.model`` is "llama") in the words of tokenizer.json.

SentencePiece joins the neighbours whose union has the highest score; BPE joins those whose merge comes first. Merges in
the order of the scores of what they make do the same.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from convert.checkpoint.gguf_metadata import Metadata
from convert.errors import BadCheckpoint

_NORMAL, _UNKNOWN, _USER_DEFINED, _BYTE = 1, 2, 4, 6
"""Of enum llama_token_type in llama.h."""
_SPACE = "▁"


def sentence_piece(metadata: Metadata, tokens: Sequence[str], types: Sequence[int]) -> dict[str, Any]:
    """normalizer, pre_tokenizer, decoder and model of tokenizer.json.

    Raises:
        BadCheckpoint: tokens and scores contradict each other.
    """
    scores = metadata.numbers("tokenizer.ggml.scores")
    if len(scores) != len(tokens):
        raise BadCheckpoint(
            f"{metadata.path}: has {len(scores)} scores for {len(tokens)} tokens, expected one each; "
            "fetch the file again"
        )
    prefixed = metadata.flag("tokenizer.ggml.add_space_prefix", default=True)
    to_space = {"type": "Replace", "pattern": {"String": _SPACE}, "content": " "}
    to_mark = {"type": "Replace", "pattern": {"String": " "}, "content": _SPACE}
    decoders = [to_space, {"type": "ByteFallback"}, {"type": "Fuse"}]
    if prefixed:
        decoders.append({"type": "Strip", "content": " ", "start": 1, "stop": 0})
    prepend = [{"type": "Prepend", "prepend": _SPACE}] if prefixed else []
    unknown = [token for token, kind in zip(tokens, types, strict=True) if kind == _UNKNOWN]
    return {
        "normalizer": {"type": "Sequence", "normalizers": [*prepend, to_mark]},
        "pre_tokenizer": None,
        "decoder": {"type": "Sequence", "decoders": decoders},
        "model": {
            "type": "BPE",
            "dropout": None,
            "unk_token": unknown[0] if unknown else None,
            "continuing_subword_prefix": None,
            "end_of_word_suffix": None,
            "fuse_unk": True,
            "byte_fallback": _BYTE in types,
            "ignore_merges": False,
            "vocab": {token: index for index, token in enumerate(tokens)},
            "merges": list(_merges(tokens, types, scores)),
        },
    }


def _merges(tokens: Sequence[str], types: Sequence[int], scores: Sequence[float]) -> Iterator[list[str]]:
    """Every way to make a token of two others; user-defined tokens first, which no other may break."""
    ids: Mapping[str, int] = {
        token: index
        for index, (token, kind) in enumerate(zip(tokens, types, strict=True))
        if kind in (_NORMAL, _USER_DEFINED)
    }
    order = sorted(ids.values(), key=lambda index: (types[index] != _USER_DEFINED, -scores[index], index))
    for token in (tokens[index] for index in order):
        pairs = [(token[:cut], token[cut:]) for cut in range(1, len(token))]
        known = [(ids[left], ids[right]) for left, right in pairs if left in ids and right in ids]
        yield from ([tokens[left], tokens[right]] for left, right in sorted(known))
