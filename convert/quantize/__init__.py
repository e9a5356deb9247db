"""Turns lazy checkpoint tensors into the initializers of dense and block-quantized operators."""
