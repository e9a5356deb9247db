"""Builds ONNX graphs whose initializers are streamed instead of held in memory."""
