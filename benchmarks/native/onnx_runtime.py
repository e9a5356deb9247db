"""Runs an ONNX graph on native ONNX Runtime's CPU provider, the KV cache passed on without copies."""

import time
from typing import Any

import numpy as np
import onnxruntime

from benchmarks.native.process import answer


class OnnxRuntime:
    """A session and what its decoder, if it is one, keeps between runs."""

    def __init__(self, graph: str, cache: dict[str, int] | None, threads: int) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        self._session = onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
        self._outputs = [item.name for item in self._session.get_outputs()]
        inputs = [item.name for item in self._session.get_inputs()]
        self._past = [name for name in inputs if name.startswith("past_key_values")]
        self._keep = {"num_logits_to_keep": _value(np.array(1, np.int64))} if "num_logits_to_keep" in inputs else {}
        self._cache = cache

    def generate(self, ids: list[int], new_tokens: int) -> tuple[int, float, float]:
        """See Decoder."""
        assert self._cache
        empty = np.zeros((1, self._cache["heads"], 0, self._cache["width"]), np.float32)
        past: dict[str, Any] = {name: _value(empty) for name in self._past}
        total, current, marks = 0, ids, [time.perf_counter()]
        for _ in range(new_tokens + 1):
            total += len(current)
            feeds = {
                "input_ids": _integers([current]),
                "attention_mask": _integers([[1] * total]),
                **self._keep,
                **past,
            }
            values = dict(zip(self._outputs, self._session.run_with_ort_values(self._outputs, feeds), strict=True))
            current = [int(values["logits"].numpy()[0, -1].argmax())]
            past = {name: values[name.replace("past_key_values", "present")] for name in self._past}
            marks.append(time.perf_counter())
        return len(ids), marks[1] - marks[0], marks[-1] - marks[1]

    def encode(self, ids: list[list[int]]) -> None:
        """See Encoder."""
        rows = np.array(ids, np.int64)
        self._session.run(None, {"input_ids": rows, "attention_mask": np.ones_like(rows)})


def _value(array: np.ndarray) -> Any:
    return onnxruntime.OrtValue.ortvalue_from_numpy(array)


def _integers(rows: list[list[int]]) -> Any:
    return _value(np.array(rows, np.int64))


if __name__ == "__main__":
    answer(lambda options: OnnxRuntime(**options))
