"""Owns the inputs: English text cut so that it has exactly so many tokens, with its ids and as text."""

from functools import cache
from pathlib import Path

from tokenizers import Tokenizer

from benchmarks.model_files import MINILM, MODELS, ROOT, SMOLLM2

ENGLISH = ROOT / "tests" / "data" / "english.txt"


@cache
def _tokenizer(model: str) -> Tokenizer:
    bundled = ROOT / "models" / model  # there before anything is prepared for the benchmarks
    tokenizer = Tokenizer.from_file(str((bundled if bundled.exists() else MODELS / model) / "tokenizer.json"))
    tokenizer.no_padding()
    tokenizer.no_truncation()
    return tokenizer


@cache
def _english(path: Path) -> str:
    return path.read_text()


def prompt(tokens: int, model: str = SMOLLM2) -> dict[str, object]:
    """A prompt for ``model`` of ``tokens`` tokens: its ids, and the text that gives the same ids again."""
    tokenizer = _tokenizer(model)
    text = _english(ENGLISH)
    while len(ids := tokenizer.encode(text, add_special_tokens=False).ids) < tokens:
        text += text
    for start in range(len(ids) - tokens):
        part = ids[start : start + tokens]
        text = tokenizer.decode(part)
        if tokenizer.encode(text, add_special_tokens=False).ids == part:
            return {"ids": part, "text": text}
    raise ValueError(f"{ENGLISH.name} has no stretch of {tokens} tokens that is the same when it is encoded again")


def batch(texts: int, tokens: int) -> dict[str, object]:
    """Texts for the encoders, each of exactly ``tokens`` tokens with the special ones, all different."""
    tokenizer = _tokenizer(MINILM)
    words = _english(ENGLISH).split()
    found: list[str] = []
    rows: list[list[int]] = []
    for start in range(len(words) - tokens):
        if len(found) == texts:
            return {"texts": found, "ids": rows}
        if start % (tokens // 2):
            continue
        for end in range(start + 1, start + tokens):
            text = " ".join(words[start:end])
            ids = tokenizer.encode(text).ids
            if len(ids) == tokens:
                found.append(text)
                rows.append(ids)
            if len(ids) >= tokens:
                break
    raise ValueError(f"{ENGLISH.name} is too short for {texts} texts of {tokens} tokens")
