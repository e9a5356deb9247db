"""Runs a converted decoder in onnxruntime token by token, with its KV cache."""

from pathlib import Path

import numpy as np
import onnxruntime
from numpy.typing import NDArray


class DecoderSession:
    """One sequence of a decoder graph; ``run`` continues it."""

    def __init__(self, path: Path, threads: int = 2) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        self.session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
        self.past_names = [item.name for item in self.session.get_inputs() if item.name.startswith("past_key_values")]
        self.reset()

    def reset(self) -> None:
        self.length = 0
        self.past = {}
        for item in self.session.get_inputs():
            if item.name in self.past_names:
                kind = np.float16 if "float16" in item.type else np.float32
                self.past[item.name] = np.zeros((1, item.shape[1], 0, item.shape[3]), kind)

    def run(self, ids: list[int], keep: int = 0) -> NDArray[np.float32]:
        """Feed ``ids``; returns logits [kept, vocab] of the last ``keep`` positions (0: all)."""
        self.length += len(ids)
        logits, *present = self.session.run(
            ["logits", *(name.replace("past_key_values", "present") for name in self.past_names)],
            {
                "input_ids": np.array([ids], np.int64),
                "attention_mask": np.ones((1, self.length), np.int64),
                "num_logits_to_keep": np.array(keep, np.int64),
                **self.past,
            },
        )
        self.past = dict(zip(self.past_names, present, strict=True))
        return logits[0]

    def greedy(self, prompt: list[int], count: int) -> tuple[list[int], list[float]]:
        """``count`` greedy tokens after ``prompt``, and the margin between the two best logits at each step."""
        logits = self.run(prompt, keep=1)[-1]
        tokens: list[int] = []
        margins: list[float] = []
        for _ in range(count):
            second, first = np.partition(logits, -2)[-2:]
            tokens.append(int(logits.argmax()))
            margins.append(float(first - second))
            logits = self.run([tokens[-1]], keep=1)[-1]
        return tokens, margins
