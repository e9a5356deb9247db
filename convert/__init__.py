"""Turns a checkpoint into an ONNX graph with quantized, hash-listed shards and a manifest."""

__version__ = "0.1.0"
