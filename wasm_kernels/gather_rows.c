/* Embedding lookup from float tables and from the packed tables that the output head also multiplies by. */
#include "featherweight_kernels.h"
#include "float_math.h"
#include "matmul_nbits.h"

INLINE float load_f16(const uint8_t *p) {
  uint16_t half;
  __builtin_memcpy(&half, p, 2);
  return f16_to_f32(half);
}

EXPORT void fw_gather_q4(const uint8_t *packed, uint32_t affine, uint32_t blocks, const uint32_t *ids, uint32_t rows,
                         uint32_t width, float *y, uint32_t y_stride) {
  const size_t step = packed_block_bytes(4, affine), header = packed_header_bytes(4, affine);
  for (uint32_t r = 0; r < rows; r++, y += y_stride) {
    const uint32_t c = ids[r] & 7;
    const uint8_t *block = packed + (size_t)(ids[r] / 8) * blocks * step;
    for (uint32_t b = 0; b < blocks; b++, block += step) {
      const float scale = load_f16(block + 2 * c), offset = affine ? load_f16(block + 16 + 2 * c) : -Q4_ZERO * scale;
      const uint8_t *codes = block + header + 4 * c;
      for (uint32_t k = 0; k < 32 && 32 * b + k < width; k++) {
        const uint32_t pair = codes[32 * (k % 16 / 4) + k % 4];
        y[32 * b + k] = scale * (float)(k < 16 ? pair & 15 : pair >> 4) + offset;
      }
    }
  }
}

EXPORT void fw_gather_q8(const uint8_t *packed, uint32_t blocks, const uint32_t *ids, uint32_t rows, uint32_t width,
                         float *y, uint32_t y_stride) {
  const size_t step = packed_block_bytes(8, 0);
  for (uint32_t r = 0; r < rows; r++, y += y_stride) {
    const uint32_t c = ids[r] & 7;
    const uint8_t *block = packed + (size_t)(ids[r] / 8) * blocks * step;
    for (uint32_t b = 0; b < blocks; b++, block += step) {
      const float scale = load_f16(block + 2 * c);
      const int8_t *codes = (const int8_t *)(block + 16 + 2 * c);
      for (uint32_t k = 0; k < 32 && 32 * b + k < width; k++) {
        y[32 * b + k] = scale * (float)codes[16 * (k / 2) + (k & 1)];
      }
    }
  }
}

EXPORT void fw_gather_f32(const float *table, const uint32_t *ids, uint32_t rows, uint32_t width, float *y,
                          uint32_t y_stride) {
  for (uint32_t r = 0; r < rows; r++) {
    const float *source = table + (size_t)ids[r] * width;
    for (uint32_t k = 0; k < width; k++) y[(size_t)r * y_stride + k] = source[k];
  }
}
