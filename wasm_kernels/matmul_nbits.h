/* Owns the packed layout of block-quantized weights ("x8"): 8 columns x 32 rows of one matrix in one block.

   block = 8 float16 scales, [8 float16 offsets when affine], codes
   4 bits: 128 bytes; byte 32 * j + 4 * c + i holds column c: row 4 * j + i low, row 16 + 4 * j + i high (j, i < 4)
   8 bits: 256 bytes; byte 16 * p + 2 * c + i holds column c, row 2 * p + i as signed code - 128 (p < 16, i < 2)
   A matrix is [groups of 8 columns][blocks of 32 rows][block]; absent columns have scale 0. */
#pragma once
#include "simd.h"

#define Q4_CODE_BYTES 128
#define Q8_CODE_BYTES 256
#define Q4_ZERO 8.0f

/* Activation block: float scale, float scale * sum of codes, then 32 codes of at most ACTIVATION_LEVELS in magnitude.
   8-bit weights multiply in 16 bits anyway, so that codes have 16 (32 * 128 * 32767 fits 32 bits). 4-bit weights
   multiply codes of 15 bits in two halves of 8: code = 128 * high + low. With 8 bits alone, rounding activations would
   move SmolLM2's logits by 4 % and one top choice in 30. */
#define ACTIVATION_LEVELS(bits) ((bits) == 4 ? 16256.0f : 32767.0f)
#define Q8_ACTIVATION_BYTES (8 + 64)
#if HAS_DOT_I8
#define Q4_HALF_BYTES 32
#define Q4_DOT_UNIT 1.0f
#else
#define Q4_HALF_BYTES 64
#define Q4_DOT_UNIT (1.0f / 256.0f)
#endif
#define Q4_ACTIVATION_BYTES (8 + 2 * Q4_HALF_BYTES)

/* Rows of activations that share one pass over a column group; their accumulators stay in the first-level cache. */
#define ROW_TILE 32

INLINE size_t packed_block_bytes(uint32_t bits, uint32_t affine) {
  return (bits == 4 ? Q4_CODE_BYTES : Q8_CODE_BYTES) + (affine ? 32 : 16);
}

/* Store 8 columns that start at column n; columns beyond `columns` do not exist. */
INLINE void store_group(float *y, uint32_t n, uint32_t columns, const float *bias, f32x4 left, f32x4 right) {
  if (n + 8 <= columns) {
    if (bias) left += load_f32x4(bias + n), right += load_f32x4(bias + n + 4);
    store_f32x4(y + n, left);
    store_f32x4(y + n + 4, right);
    return;
  }
  for (uint32_t c = 0; n + c < columns; c++) {
    float v = c < 4 ? left[c] : right[c - 4];
    y[n + c] = bias ? v + bias[n + c] : v;
  }
}
