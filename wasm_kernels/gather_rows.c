/* Embedding lookup from float tables and from the packed 8-bit tables that the output head also multiplies by. */
#include "featherweight_kernels.h"
#include "float_math.h"
#include "matmul_nbits.h"

EXPORT void fw_gather_q8(const uint8_t *packed, uint32_t blocks, const uint32_t *ids, uint32_t rows, uint32_t width,
                         float *y, uint32_t y_stride) {
  const size_t step = packed_block_bytes(8, 0);
  for (uint32_t r = 0; r < rows; r++, y += y_stride) {
    const uint32_t c = ids[r] & 7;
    const uint8_t *block = packed + (size_t)(ids[r] / 8) * blocks * step;
    for (uint32_t b = 0; b < blocks; b++, block += step) {
      uint16_t half;
      __builtin_memcpy(&half, block + 2 * c, 2);
      const float scale = f16_to_f32(half);
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
