/* Scalar reference: what the vector kernels have to compute, in the layouts of ONNX and in plain loops. */
#include "featherweight_kernels.h"

static float half_value(uint16_t half) {
  const int exponent = (half >> 10) & 31, mantissa = half & 1023;
  float value = exponent ? (float)(1024 + mantissa) : (float)(2 * mantissa);
  for (int i = exponent; i < 25; i++) value *= 0.5f;
  return half & 0x8000 ? -value : value;
}

/* y = x * w^T with x rounded to 16 bits per block of 32; codes as MatMulNBits stores them, offsets
   and zero points (uint8 [columns][blocks]) may be null. */
EXPORT void fw_reference_matmul_nbits(const float *x, const uint8_t *codes, const uint16_t *scales,
                                      const uint16_t *offsets, const uint8_t *points, uint32_t rows, uint32_t inner, uint32_t columns,
                                      uint32_t bits, float *y) {
  const uint32_t blocks = (inner + 31) / 32;
  const float levels = bits == 4 ? 32639.0f : 32767.0f;
  for (uint32_t r = 0; r < rows; r++) {
    for (uint32_t n = 0; n < columns; n++) {
      double result = 0;
      for (uint32_t b = 0; b < blocks; b++) {
        const float *part = x + (uint64_t)r * inner + 32 * b;
        const uint32_t count = inner - 32 * b < 32 ? inner - 32 * b : 32;
        float largest = 0;
        for (uint32_t k = 0; k < count; k++) {
          float magnitude = part[k] < 0 ? -part[k] : part[k];
          largest = magnitude > largest ? magnitude : largest;
        }
        if (largest < 1e-30f) continue;
        const uint8_t *code = codes + ((uint64_t)n * blocks + b) * 4 * bits;
        const double scale = half_value(scales[(uint64_t)n * blocks + b]);
        const double zero = points ? points[(uint64_t)n * blocks + b] : bits == 4 ? 8 : 128;
        const double offset = offsets ? half_value(offsets[(uint64_t)n * blocks + b]) : -scale * zero;
        double sum = 0;
        for (uint32_t k = 0; k < count; k++) {
          const float exact = part[k] * (levels / largest);
          const float rounded = (exact + 12582912.0f) - 12582912.0f; /* nearest integer, ties to even */
          const int value = bits == 4 ? (code[k / 2] >> (4 * (k & 1))) & 15 : code[k];
          sum += rounded * (scale * value + offset);
        }
        result += sum * (largest / levels);
      }
      y[(uint64_t)r * columns + n] = (float)result;
    }
  }
}
