"""Owns running a graph of ours in onnxruntime on the CPU: sessions, the empty KV cache, token ids for them."""

from collections.abc import Iterable, Iterator, Sequence
from itertools import takewhile
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from convert.errors import BadModelDirectory, FeatherweightError

PAST, PRESENT = "past_key_values.", "present."
CHARACTERS_PER_TOKEN = 64
"""No more of a text is tokenized than this times the tokens asked for."""
_ERRORS_ONLY = 3


def open_session(graph: Path) -> Any:
    """An onnxruntime session of the ``.onnx`` file ``graph``; raises whatever onnxruntime raises."""
    from onnxruntime.capi.onnxruntime_inference_collection import InferenceSession  # slow to import
    from onnxruntime.capi.onnxruntime_pybind11_state import SessionOptions

    options = SessionOptions()
    options.log_severity_level = _ERRORS_ONLY
    # Threads that wait do not spin, for the machine often has other work to do.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return InferenceSession(graph, options, providers=["CPUExecutionProvider"])


def empty_cache(declared: Iterable[Any]) -> dict[str, NDArray[Any]]:
    """The KV-cache inputs among ``declared`` with nothing cached, each [1, kv_heads, 0, head_dim]."""
    return {
        item.name: np.zeros((1, item.shape[1], 0, item.shape[3]), np.float16 if "float16" in item.type else np.float32)
        for item in declared
        if item.name.startswith(PAST)
    }


def whole_sequence(session: Any, ids: NDArray[np.int64]) -> dict[str, NDArray[Any]]:
    """What ``session`` is fed for ``ids`` [tokens] at once, with nothing cached and all logits kept."""
    row = ids[None]
    feed = {
        "input_ids": row,
        "attention_mask": np.ones_like(row),
        "token_type_ids": np.zeros_like(row),
        "num_logits_to_keep": np.array(0),
    }
    declared = session.get_inputs()
    names = {item.name for item in declared}
    return {**{name: value for name, value in feed.items() if name in names}, **empty_cache(declared)}


def run_to(session: Any, values: list[str], feed: dict[str, NDArray[Any]]) -> list[NDArray[Any]]:
    """The outputs ``values``, running only what they depend on; raises whatever onnxruntime raises."""
    from onnxruntime.capi.onnxruntime_pybind11_state import RunOptions  # slow to import

    options = RunOptions()
    options.only_execute_path_to_fetches = True
    found: list[NDArray[Any]] = session.run(values, feed, options)
    return found


def load_tokenizer(path: Path) -> Any:
    """The tokenizer of the file ``path``, as `tokenizer_of` gives it; raises BadModelDirectory when it is missing."""
    try:
        return tokenizer_of(path.read_bytes(), str(path))
    except OSError as error:
        raise BadModelDirectory(f"{path}: cannot be read ({error.strerror}); convert the model again") from error


def tokenizer_of(data: bytes, name: str) -> Any:
    """The tokenizer of a ``tokenizer.json``, without padding and truncation; raises BadModelDirectory."""
    from tokenizers import Tokenizer  # slow to import

    try:
        tokenizer = Tokenizer.from_buffer(data)
    except Exception as error:  # the library raises Exception itself
        raise BadModelDirectory(f"{name}: is not a tokenizer: {error}; convert the model again") from error
    tokenizer.no_padding()
    tokenizer.no_truncation()  # sentence-transformers ships both switched on
    return tokenizer


def windows(tokenizer: Any, text: str, window: int, max_tokens: int) -> Iterator[tuple[NDArray[np.int64], int]]:
    """Token ids of each window of ``text``, and how many of them, at the end, can be predicted.

    Windows do not overlap and each starts afresh: with the special tokens that the tokenizer puts first, if any.

    Raises:
        FeatherweightError: the text has too few tokens to predict one.
    """
    marked = tokenizer.encode("a")
    pairs: Sequence[tuple[int, int]] = list(zip(marked.ids, marked.special_tokens_mask, strict=True))
    prefix = [item for item, _ in takewhile(lambda pair: pair[1], pairs)]
    ids = tokenizer.encode(text[: max_tokens * CHARACTERS_PER_TOKEN], add_special_tokens=False).ids[:max_tokens]
    least = 1 if prefix else 2
    if len(ids) < least:
        raise FeatherweightError(f"the text has {len(ids)} tokens, too few to predict any; give a longer one")
    step = max(window - len(prefix), least)
    for start in range(0, len(ids), step):
        piece = ids[start : start + step]
        if len(piece) >= least:
            yield np.array(prefix + piece, np.int64), len(piece) - (least - 1)
