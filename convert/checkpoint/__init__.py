"""Reads checkpoints: lazy tensors over mapped safetensors and GGUF files, their configuration and their tokenizer."""
