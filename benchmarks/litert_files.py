"""Converts an encoder for LiteRT.js; runs under the Python of build/bench/litert, beside litert-torch.

    litert_files.py CHECKPOINT TARGET

writes TARGET/model.tflite (fp32) and TARGET/model_int8.tflite (dynamic int8, XNNPACK's fast path). LiteRT wants fixed
shapes: each shape of the benchmarks is a signature named like "8x128"; all share the weights.
"""

import sys
from pathlib import Path

import litert_torch
import torch
from ai_edge_quantizer import quantizer, recipe
from transformers import AutoModel

SHAPES = ((1, 16), (1, 128), (8, 128))


class Encoder(torch.nn.Module):
    """The model as a function of two int32 [texts, tokens] tensors."""

    def __init__(self, model: torch.nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, ids: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """Float32 [texts, tokens, width]."""
        return self.model(input_ids=ids, attention_mask=mask).last_hidden_state


def main(checkpoint: Path, target: Path) -> None:
    """Convert, then quantize."""
    model = AutoModel.from_pretrained(checkpoint, attn_implementation="eager", dtype=torch.float32)
    encoder = Encoder(model).eval()
    converter = litert_torch
    for texts, tokens in SHAPES:
        ones = torch.ones(texts, tokens, dtype=torch.int32)
        converter = converter.signature(f"{texts}x{tokens}", encoder, (ones, ones))
    target.mkdir(parents=True)
    plain = target / "model.tflite"
    converter.convert().export(str(plain))
    dynamic = quantizer.Quantizer(str(plain))
    dynamic.load_quantization_recipe(recipe.dynamic_wi8_afp32())
    dynamic.quantize().export_model(str(target / "model_int8.tflite"))


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
