"""Owns the dtypes that a model can be converted to, and the file names that Transformers.js expects for each."""

from enum import StrEnum


class Dtype(StrEnum):
    """Weight format of a variant; the values are the names that Transformers.js uses."""

    FP32 = "fp32"
    FP16 = "fp16"
    Q8 = "q8"
    Q4 = "q4"
    Q4F16 = "q4f16"

    @property
    def suffix(self) -> str:
        """Part of the file name between ``model`` and ``.onnx``."""
        return _SUFFIXES[self]

    @property
    def linear_bits(self) -> int | None:
        """Bits per weight of quantized matrix multiplications, or None when they stay floating point."""
        return _LINEAR_BITS.get(self)

    @property
    def float16(self) -> bool:
        """Whether activations and the KV cache are float16 instead of float32."""
        return self in (Dtype.FP16, Dtype.Q4F16)


_SUFFIXES = {Dtype.FP32: "", Dtype.FP16: "_fp16", Dtype.Q8: "_quantized", Dtype.Q4: "_q4", Dtype.Q4F16: "_q4f16"}
_LINEAR_BITS = {Dtype.Q8: 8, Dtype.Q4: 4, Dtype.Q4F16: 4}
EMBEDDING_BITS = (8, 4)
"""What quantized variants can have their embedding tables in; the first is the default."""
BLOCK_SIZES = (16, 32, 64, 128, 256)
