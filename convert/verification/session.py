"""Runs a variant in onnxruntime on the CPU: the reference of every check and every measurement of quality."""

from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from convert.errors import BadModelDirectory
from convert.manifest import Variant

FloatArray = NDArray[np.float32]
IntArray = NDArray[np.int64]

PAST = "past_key_values."
PRESENT = "present."
_ERRORS_ONLY = 3
_NUMPY_TYPES = {"tensor(float)": np.float32, "tensor(float16)": np.float16}


class _Session:
    """An open graph whose inputs are known."""

    known_inputs: frozenset[str]

    def __init__(self, model_dir: Path, variant: Variant) -> None:
        self._name = variant.graph
        options = onnxruntime.SessionOptions()
        options.log_severity_level = _ERRORS_ONLY
        try:
            self._session = onnxruntime.InferenceSession(
                model_dir / variant.graph, options, providers=["CPUExecutionProvider"]
            )
        except Exception as error:  # onnxruntime's errors have no common base but this one
            raise BadModelDirectory(f"{self._name}: onnxruntime cannot load it: {_one_line(error)}") from error
        self._inputs = {node.name: node for node in self._session.get_inputs()}
        self._outputs = [node.name for node in self._session.get_outputs()]
        unknown = [name for name in self._inputs if name not in self.known_inputs and not name.startswith(PAST)]
        if unknown:
            raise BadModelDirectory(f"{self._name}: has an input {unknown[0]!r} that nothing here can feed")

    def _run(self, feeds: dict[str, Any]) -> dict[str, NDArray[Any]]:
        given = {name: value for name, value in feeds.items() if name in self._inputs}
        try:
            values = self._session.run(None, given)
        except Exception as error:
            raise BadModelDirectory(f"{self._name}: onnxruntime cannot run it: {_one_line(error)}") from error
        return dict(zip(self._outputs, values, strict=True))


class DecoderSession(_Session):
    """A decoder with its KV cache, for one sequence at a time."""

    known_inputs = frozenset({"input_ids", "attention_mask", "num_logits_to_keep"})

    def __init__(self, model_dir: Path, variant: Variant) -> None:
        super().__init__(model_dir, variant)
        self.reset()

    def reset(self) -> None:
        """Empty the KV cache."""
        self._length = 0
        self._cache = {
            name: np.zeros((1, node.shape[1], 0, node.shape[3]), _NUMPY_TYPES[node.type])
            for name, node in self._inputs.items()
            if name.startswith(PAST)
        }

    def run(self, token_ids: IntArray, keep: int = 0) -> FloatArray:
        """Append ``token_ids`` [tokens] to the cache; logits [kept, vocab] of all positions, or of the last ``keep``.

        Raises BadModelDirectory when onnxruntime refuses.
        """
        self._length += len(token_ids)
        outputs = self._run(
            {
                "input_ids": token_ids[None].astype(np.int64),
                "attention_mask": np.ones((1, self._length), np.int64),
                "num_logits_to_keep": np.array(keep, np.int64),
                **self._cache,
            }
        )
        self._cache = {name: outputs[PRESENT + name.removeprefix(PAST)] for name in self._cache}
        return np.asarray(outputs["logits"][0], np.float32)

    def cache_arrays(self) -> list[NDArray[Any]]:
        """Keys and values, each [1, kv_heads, tokens, head_dim]."""
        return list(self._cache.values())


class EncoderSession(_Session):
    """An encoder, with or without a classification head."""

    known_inputs = frozenset({"input_ids", "attention_mask"})

    def run(self, token_ids: IntArray, mask: IntArray) -> FloatArray:
        """Hidden states [batch, tokens, hidden], or logits [batch, labels] when there is a head.

        Both arguments are [batch, tokens]. Raises BadModelDirectory when onnxruntime refuses.
        """
        outputs = self._run({"input_ids": token_ids, "attention_mask": mask})
        return np.asarray(outputs[self._outputs[0]], np.float32)


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())
