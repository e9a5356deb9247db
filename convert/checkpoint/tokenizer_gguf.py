"""Owns the tokenizer that a GGUF file carries: rebuilds tokenizer.json and the files beside it from the metadata.

The pre-tokenizer of byte-level vocabularies is not stored, only its name: ``tokenizer.ggml.pre`` picks a row of
PRE_TOKENIZERS.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from convert.checkpoint.gguf_metadata import Metadata
from convert.checkpoint.tokenizer_sentencepiece import sentence_piece
from convert.checkpoint.untrusted import quote
from convert.errors import BadCheckpoint, UnsupportedModel

if TYPE_CHECKING:
    from tokenizers import Tokenizer

_CONTROL, _USER_DEFINED = 3, 4
"""Of enum llama_token_type in llama.h: added tokens, the first never shown as text."""

_ROLES = {"bos": "bos", "eos": "eos", "unk": "unknown", "pad": "padding"}
"""Role in the Hugging Face files, and in ``tokenizer.ggml.*_token_id``."""

_BYTE_LEVEL = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True}
_BYTE_LEVEL_DECODER = {"type": "ByteLevel", "add_prefix_space": True, "trim_offsets": True, "use_regex": True}
_ENDINGS = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)"
_SPACES = r"|\s*[\r\n]+|\s+(?!\S)|\s+"
_QWEN2_WORDS = rf"{_ENDINGS}|[^\r\n\p{{L}}\p{{N}}]?\p{{L}}+|\p{{N}}| ?[^\s\p{{L}}\p{{N}}]+[\r\n]*{_SPACES}"
_LLAMA3_WORDS = _QWEN2_WORDS.replace(r"\p{N}|", r"\p{N}{1,3}|", 1)
_UPPER, _LOWER = r"[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]", r"[\p{Ll}\p{Lm}\p{Lo}\p{M}]"
_GPT4O_WORDS = (
    rf"[^\r\n\p{{L}}\p{{N}}]?{_UPPER}*{_LOWER}+{_ENDINGS}?|[^\r\n\p{{L}}\p{{N}}]?{_UPPER}+{_LOWER}*{_ENDINGS}?"
    rf"|\p{{N}}{{1,3}}| ?[^\s\p{{L}}\p{{N}}]+[\r\n/]*{_SPACES}"
)


@dataclass(frozen=True)
class PreTokenizer:
    """How text is cut before the merges, in the words of tokenizer.json."""

    steps: tuple[dict[str, Any], ...]
    ignore_merges: bool = False
    """Whether a piece that is a token as a whole is taken as it is."""
    composed: bool = False
    """Whether text is brought to Unicode's form NFC first."""


def _words(pattern: str) -> tuple[dict[str, Any], ...]:
    """Words by a regular expression, then bytes."""
    split = {"type": "Split", "pattern": {"Regex": pattern}, "behavior": "Isolated", "invert": False}
    return (split, _BYTE_LEVEL | {"use_regex": False})


PRE_TOKENIZERS: Mapping[str, PreTokenizer] = {
    "gpt-2": PreTokenizer((_BYTE_LEVEL,)),
    "smollm": PreTokenizer(({"type": "Digits", "individual_digits": True}, _BYTE_LEVEL)),
    "llama-bpe": PreTokenizer(_words(_LLAMA3_WORDS), ignore_merges=True),
    "smaug-bpe": PreTokenizer(_words(_LLAMA3_WORDS), ignore_merges=True),
    "dbrx": PreTokenizer(_words(_LLAMA3_WORDS)),
    "qwen2": PreTokenizer(_words(_QWEN2_WORDS), composed=True),
    "gpt-4o": PreTokenizer(_words(_GPT4O_WORDS)),
}
"""By ``tokenizer.ggml.pre``; the rows say what the tokenizer.json of the original models says."""


def tokenizer_files(metadata: Metadata, *, vocab_size: int) -> dict[str, bytes]:
    """tokenizer.json and tokenizer_config.json, special_tokens_map.json, generation_config.json, chat_template.jinja.

    ``vocab_size`` is the number of rows of the embedding.

    Raises:
        UnsupportedModel: a kind of tokenizer that this table does not have.
        BadCheckpoint: tokens, merges or ids contradict each other.
    """
    tokens = metadata.texts("tokenizer.ggml.tokens")
    if not 0 < len(tokens) <= vocab_size:
        raise BadCheckpoint(
            f"{metadata.path}: has {len(tokens)} tokens, expected 1 to {vocab_size}, the rows of the embedding; "
            "fetch the file again"
        )
    special = special_token_ids(metadata)
    tokenizer = _build(metadata, tokens, special)
    named = {f"{role}_token": tokens[token_id] for role, token_id in special.items()}
    tokenizer_config: dict[str, Any] = {
        "add_prefix_space": False,
        "added_tokens_decoder": {
            str(token_id): {
                "content": token.content,
                "lstrip": token.lstrip,
                "normalized": token.normalized,
                "rstrip": token.rstrip,
                "single_word": token.single_word,
                "special": token.special,
            }
            for token_id, token in sorted(tokenizer.get_added_tokens_decoder().items())
        },
        **named,
        "clean_up_tokenization_spaces": False,
        "model_max_length": metadata.integer(f"{metadata.text('general.architecture')}.context_length", least=1),
        # The generic class takes tokenizer.json as it is, in Python and in Transformers.js.
        "tokenizer_class": "PreTrainedTokenizerFast",
    }
    files = {
        "tokenizer.json": (tokenizer.to_str() + "\n").encode(),
        "special_tokens_map.json": _json(named),
        "generation_config.json": _json(generation_ids(metadata)),
    }
    if "tokenizer.chat_template" in metadata:
        chat_template = metadata.text("tokenizer.chat_template")
        tokenizer_config["chat_template"] = chat_template
        files["chat_template.jinja"] = chat_template.encode()
    return files | {"tokenizer_config.json": _json(tokenizer_config)}


def special_token_ids(metadata: Metadata) -> dict[str, int]:
    """Ids of the roles "bos", "eos", "unk" and "pad" that the file names."""
    return {
        role: _token_id(metadata, f"tokenizer.ggml.{name}_token_id")
        for role, name in _ROLES.items()
        if f"tokenizer.ggml.{name}_token_id" in metadata
    }


def generation_ids(metadata: Metadata) -> dict[str, Any]:
    """bos_token_id, eos_token_id (a list when an end of turn ends the answer too), pad_token_id: those known."""
    ids: dict[str, Any] = {
        f"{role}_token_id": value for role, value in special_token_ids(metadata).items() if role != "unk"
    }
    if "tokenizer.ggml.eot_token_id" in metadata:
        end_of_turn = _token_id(metadata, "tokenizer.ggml.eot_token_id")
        if ids.setdefault("eos_token_id", end_of_turn) != end_of_turn:
            ids["eos_token_id"] = [ids["eos_token_id"], end_of_turn]
    return ids


def _token_id(metadata: Metadata, key: str) -> int:
    token_id, count = metadata.integer(key), len(metadata.texts("tokenizer.ggml.tokens"))
    if token_id >= count:
        raise BadCheckpoint(
            f"{metadata.path}: {key} is {token_id}, expected one of the {count} tokens; fetch the file again"
        )
    return token_id


def _build(metadata: Metadata, tokens: list[str], special: Mapping[str, int]) -> "Tokenizer":
    from tokenizers import AddedToken, Tokenizer  # Only GGUF sources need it.

    types = metadata.integers("tokenizer.ggml.token_type")
    if len(types) != len(tokens):
        raise BadCheckpoint(
            f"{metadata.path}: has {len(types)} token types for {len(tokens)} tokens, expected one each; "
            "fetch the file again"
        )
    if len(set(tokens)) != len(tokens):
        raise BadCheckpoint(f"{metadata.path}: has the same token twice; expected each once, so fetch the file again")
    model = metadata.text("tokenizer.ggml.model")
    if model not in _KINDS:
        raise UnsupportedModel(
            f"{metadata.path}: has a tokenizer of kind {quote(model)}, expected {' or '.join(_KINDS)}; "
            "convert the safetensors checkpoint of the model, which brings its tokenizer.json"
        )
    description: dict[str, Any] = {
        "version": "1.0",
        "added_tokens": [],
        "post_processor": _post_processor(metadata, tokens, special, framed=model == _SENTENCE_PIECE),
        **_KINDS[model](metadata, tokens, types),
    }
    try:
        tokenizer = Tokenizer.from_str(json.dumps(description))
    except Exception as error:  # The library raises this bare class.
        raise BadCheckpoint(
            f"{metadata.path}: the tokenizer cannot be built ({quote(str(error))}); fetch the file again"
        ) from error
    for kind, is_special in ((_CONTROL, True), (_USER_DEFINED, False)):
        added = [token for token, token_type in zip(tokens, types, strict=True) if token_type == kind]
        tokenizer.add_tokens([AddedToken(token, special=is_special, normalized=False) for token in added])
    return tokenizer


def _byte_level(metadata: Metadata, tokens: list[str], types: list[int]) -> dict[str, Any]:
    """normalizer, pre_tokenizer, decoder and model of a byte-level BPE, as GPT-2 introduced it."""
    name = metadata.text("tokenizer.ggml.pre")
    if name not in PRE_TOKENIZERS:
        raise UnsupportedModel(
            f"{metadata.path}: has the pre-tokenizer {quote(name)}, expected one of {', '.join(PRE_TOKENIZERS)}; "
            "convert the safetensors checkpoint of the model, which brings its tokenizer.json"
        )
    cut = PRE_TOKENIZERS[name]
    return {
        "normalizer": {"type": "NFC"} if cut.composed else None,
        "pre_tokenizer": {"type": "Sequence", "pretokenizers": list(cut.steps)},
        "decoder": _BYTE_LEVEL_DECODER,
        "model": _byte_pair_model(metadata, tokens) | {"ignore_merges": cut.ignore_merges},
    }


_SENTENCE_PIECE = "llama"
_KINDS: Mapping[str, Callable[[Metadata, list[str], list[int]], dict[str, Any]]] = {
    "gpt2": _byte_level,
    _SENTENCE_PIECE: sentence_piece,
}
"""By ``tokenizer.ggml.model``."""


def _byte_pair_model(metadata: Metadata, tokens: list[str]) -> dict[str, Any]:
    ids = {token: token_id for token_id, token in enumerate(tokens)}
    merges = [merge.split(" ") for merge in metadata.texts("tokenizer.ggml.merges")]
    for pair in merges:
        if len(pair) != 2 or pair[0] not in ids or pair[1] not in ids or "".join(pair) not in ids:
            raise BadCheckpoint(
                f"{metadata.path}: the merge {quote(' '.join(pair))} does not join two tokens to a third; "
                "fetch the file again"
            )
    return {
        "type": "BPE",
        "dropout": None,
        "unk_token": None,
        "continuing_subword_prefix": None,
        "end_of_word_suffix": None,
        "fuse_unk": False,
        "byte_fallback": False,
        "vocab": ids,
        "merges": merges,
    }


def _post_processor(
    metadata: Metadata, tokens: list[str], special: Mapping[str, int], *, framed: bool
) -> dict[str, Any] | None:
    """The tokens that put every text in a frame, or None; ``framed``: texts begin with bos unless the file says no."""
    frame: dict[str, int | None] = {"bos": None, "eos": None}
    for role in frame:
        if metadata.flag(f"tokenizer.ggml.add_{role}_token", default=framed and role == "bos" and role in special):
            if role not in special:
                raise BadCheckpoint(f"{metadata.path}: adds a {role} token but names none; fetch the file again")
            frame[role] = special[role]
    if frame == {"bos": None, "eos": None}:
        return None

    def piece(role: str, type_id: int) -> list[dict[str, Any]]:
        token_id = frame[role]
        return [] if token_id is None else [{"SpecialToken": {"id": tokens[token_id], "type_id": type_id}}]

    def in_frame(sequence: str, type_id: int) -> list[dict[str, Any]]:
        return [
            *piece("bos", type_id),
            {"Sequence": {"id": sequence, "type_id": type_id}},
            *piece("eos", type_id),
        ]

    return {
        "type": "TemplateProcessing",
        "single": in_frame("A", 0),
        "pair": [*in_frame("A", 0), *in_frame("B", 1)],
        "special_tokens": {
            tokens[token_id]: {"id": tokens[token_id], "ids": [token_id], "tokens": [tokens[token_id]]}
            for token_id in frame.values()
            if token_id is not None
        },
    }


def _json(value: Any) -> bytes:
    return (json.dumps(value, ensure_ascii=False, indent=2, sort_keys=True) + "\n").encode()
