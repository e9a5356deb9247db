"""Runs a converted encoder-decoder in onnxruntime, with the caches of both of its attentions."""

from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
from numpy.typing import NDArray


class EncoderDecoderSession:
    """A batch of texts; ``start`` encodes them, ``run`` continues their answers."""

    def __init__(self, folder: Path, suffix: str = "") -> None:
        self.encoder, self.decoder = (
            onnxruntime.InferenceSession(folder / f"{name}{suffix}.onnx", providers=["CPUExecutionProvider"])
            for name in ("encoder_model", "decoder_model_merged")
        )
        self.cached = [item for item in self.decoder.get_inputs() if item.name.startswith("past_key_values")]

    def start(self, ids: NDArray[np.int64], mask: NDArray[np.int64]) -> NDArray[np.float32]:
        """Encode ``ids`` [batch, tokens]; returns the hidden states."""
        states = self.encoder.run(None, {"input_ids": ids, "attention_mask": mask})[0]
        self.given = {"encoder_hidden_states": states, "encoder_attention_mask": mask}
        self.past: dict[str, Any] = {
            item.name: np.zeros(
                (len(ids), item.shape[1], 0, item.shape[3]), np.float16 if "float16" in item.type else np.float32
            )
            for item in self.cached
        }
        return np.asarray(states)

    def run(self, ids: NDArray[np.int64]) -> NDArray[np.float32]:
        """Logits [batch, new, vocab] of more tokens of the answers."""
        names = [item.name.replace("past_key_values", "present") for item in self.cached]
        logits, *present = self.decoder.run(["logits", *names], {"input_ids": ids, **self.given, **self.past})
        self.past = {item.name: value for item, value in zip(self.cached, present, strict=True)}
        return np.asarray(logits)
