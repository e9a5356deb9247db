/* float32 = 16-bit activations x 8-bit weights, summed in 32 bits; two address streams for one row, tiles for many. */
#include "featherweight_kernels.h"
#include "matmul_tile.h"

#define Q8_STEP (16 + Q8_CODE_BYTES)

/* One activation block times one weight block, added to acc[2]. */
INLINE void q8_block(const uint8_t *block, const uint8_t *a, f32x4 *acc) {
  i32x4 left = {0, 0, 0, 0}, right = left;
  for (int p = 0; p < 16; p++) {
    const i16x8 q = (i16x8)load_splat_i32(a + 8 + 4 * p);
    left += dot_i16x8(load_i8x8_as_i16(block + 16 + 16 * p), q);
    right += dot_i16x8(load_i8x8_as_i16(block + 24 + 16 * p), q);
  }
  const f32x4 scale = load_splat_f32(a);
  acc[0] = madd(to_f32x4(left) * scale, load_f16x4(block), acc[0]);
  acc[1] = madd(to_f32x4(right) * scale, load_f16x4(block + 8), acc[1]);
}

static void q8_gemv(const uint8_t *w, const uint8_t *a, uint32_t blocks, uint32_t begin, uint32_t end, uint32_t columns,
                    const float *bias, float *y) {
  const size_t group = (size_t)blocks * Q8_STEP;
  const uint32_t half = (end - begin) / 2;
  for (uint32_t g = begin; g < begin + half; g++) {
    const uint8_t *first = w + g * group, *second = first + half * group, *row = a;
    f32x4 acc[4] = {0};
    for (uint32_t b = 0; b < blocks; b++, first += Q8_STEP, second += Q8_STEP, row += ACTIVATION_BYTES) {
      q8_block(first, row, acc);
      q8_block(second, row, acc + 2);
    }
    store_group(y, 8 * g, columns, bias, acc[0], acc[1]);
    store_group(y, 8 * (g + half), columns, bias, acc[2], acc[3]);
  }
  for (uint32_t g = begin + 2 * half; g < end; g++) {
    f32x4 acc[2] = {0};
    for (uint32_t b = 0; b < blocks; b++) q8_block(w + g * group + b * Q8_STEP, a + b * ACTIVATION_BYTES, acc);
    store_group(y, 8 * g, columns, bias, acc[0], acc[1]);
  }
}

EXPORT void fw_matmul_q8(const uint8_t *w, const uint8_t *a, uint32_t rows, uint32_t blocks, uint32_t begin,
                         uint32_t end, uint32_t columns, const float *bias, float *y, uint32_t y_stride) {
  if (rows == 1) {
    q8_gemv(w, a, blocks, begin, end, columns, bias, y);
    return;
  }
  matmul_tiles(w, 8, 0, a, rows, blocks, begin, end, columns, bias, y, y_stride);
}
