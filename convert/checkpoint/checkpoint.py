"""Owns the checkpoint: everything that is known of a model before it becomes a graph, whatever it was read from."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from convert.checkpoint.mapped_file import MappedFile
from convert.checkpoint.tensor import LazyTensor

PICKLE_SUFFIXES = (".bin", ".pt", ".pth", ".ckpt", ".pkl", ".pickle")
"""Files that run code when they are read: refused by name, never opened."""
PICKLE_ADVICE = (
    "save the model as safetensors first (in a place where you trust it: "
    "AutoModel.from_pretrained(...).save_pretrained(..., safe_serialization=True))"
)


@dataclass(frozen=True)
class Checkpoint:
    """An open checkpoint; use it as a context manager, or close it."""

    tensors: Mapping[str, LazyTensor]
    """By Hugging Face name ("model.layers.0.self_attn.q_proj.weight"), in the order of the source."""
    config: dict[str, Any]
    """Content of config.json; has model_type."""
    files: Mapping[str, bytes]
    """Small files to ship with the model: tokenizer.json, tokenizer_config.json, generation_config.json, ..."""
    name: str
    """For people: "SmolLM2 135M Instruct"."""
    license: str
    """SPDX-like identifier in lower case ("apache-2.0"), or "unknown"."""
    provenance: dict[str, str]
    """kind ("gguf", "safetensors", "hub", "bundled"), name, revision ("sha256:..." or "commit:..."); no paths."""
    pooling: dict[str, Any] | None = None
    """How token vectors become one sentence vector: {"mode": "mean" | "cls", "normalize": bool, "max_tokens": int}."""
    directory: Path | None = field(default=None, repr=False)
    """Where config.json and the weights lie, for other exporters; None for sources that are no such directory."""
    mapped: tuple[MappedFile, ...] = field(default=(), repr=False)
    """Files that the tensors read from."""

    def close(self) -> None:
        """Unmap the files; the tensors cannot be read any more."""
        for file in self.mapped:
            file.close()

    def __enter__(self) -> "Checkpoint":
        """The checkpoint itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close it."""
        self.close()
