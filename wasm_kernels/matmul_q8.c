/* float32 = 16-bit activations x 8-bit weights, summed in 32 bits; two address streams for one row, tiles of four for many. */
#include "featherweight_kernels.h"
#include "matmul_nbits.h"

#define Q8_STEP (16 + Q8_CODE_BYTES)

/* `rows` activation blocks (row_bytes apart) times one weight block, added to acc[row][2]. */
INLINE void q8_block(const uint8_t *block, const uint8_t *a, size_t row_bytes, uint32_t rows, f32x4 *acc) {
  i32x4 dot[8] = {0};
  for (int p = 0; p < 16; p++) {
    i16x8 left = load_i8x8_as_i16(block + 16 + 16 * p), right = load_i8x8_as_i16(block + 24 + 16 * p);
    for (uint32_t r = 0; r < rows; r++) {
      i16x8 q = (i16x8)load_splat_i32(a + r * row_bytes + 8 + 4 * p);
      dot[2 * r] += dot_i16x8(left, q);
      dot[2 * r + 1] += dot_i16x8(right, q);
    }
  }
  f32x4 left = load_f16x4(block), right = load_f16x4(block + 8);
  for (uint32_t r = 0; r < rows; r++) {
    f32x4 scale = load_splat_f32(a + r * row_bytes);
    acc[2 * r] = madd(to_f32x4(dot[2 * r]) * scale, left, acc[2 * r]);
    acc[2 * r + 1] = madd(to_f32x4(dot[2 * r + 1]) * scale, right, acc[2 * r + 1]);
  }
}

INLINE void q8_rows(const uint8_t *w, const uint8_t *a, uint32_t rows, uint32_t blocks, uint32_t n, uint32_t columns,
                    const float *bias, float *y, uint32_t y_stride) {
  const size_t row_bytes = (size_t)blocks * ACTIVATION_BYTES;
  f32x4 acc[8];
  for (uint32_t i = 0; i < 2 * rows; i++) acc[i] = splat_f32(0.0f);
  for (uint32_t b = 0; b < blocks; b++) {
    q8_block(w + (size_t)b * Q8_STEP, a + (size_t)b * ACTIVATION_BYTES, row_bytes, rows, acc);
  }
  for (uint32_t r = 0; r < rows; r++) {
    store_group(y + (size_t)r * y_stride, n, columns, bias, acc[2 * r], acc[2 * r + 1]);
  }
}

static void q8_gemv(const uint8_t *w, const uint8_t *a, uint32_t blocks, uint32_t begin, uint32_t end, uint32_t columns,
                    const float *bias, float *y) {
  const size_t group = (size_t)blocks * Q8_STEP;
  const uint32_t half = (end - begin) / 2;
  for (uint32_t g = begin; g < begin + half; g++) {
    const uint8_t *first = w + g * group, *second = first + half * group, *row = a;
    f32x4 acc[4] = {0};
    for (uint32_t b = 0; b < blocks; b++, first += Q8_STEP, second += Q8_STEP, row += ACTIVATION_BYTES) {
      q8_block(first, row, 0, 1, acc);
      q8_block(second, row, 0, 1, acc + 2);
    }
    store_group(y, 8 * g, columns, bias, acc[0], acc[1]);
    store_group(y, 8 * (g + half), columns, bias, acc[2], acc[3]);
  }
  for (uint32_t g = begin + 2 * half; g < end; g++) q8_rows(w + g * group, a, 1, blocks, 8 * g, columns, bias, y, 0);
}

EXPORT void fw_matmul_q8(const uint8_t *w, const uint8_t *a, uint32_t rows, uint32_t blocks, uint32_t begin,
                         uint32_t end, uint32_t columns, const float *bias, float *y, uint32_t y_stride) {
  if (rows == 1) {
    q8_gemv(w, a, blocks, begin, end, columns, bias, y);
    return;
  }
  const size_t row_bytes = (size_t)blocks * ACTIVATION_BYTES;
  for (uint32_t tile = 0; tile < rows; tile += ROW_TILE) {
    uint32_t last = rows - tile < ROW_TILE ? rows : tile + ROW_TILE;
    for (uint32_t g = begin; g < end; g++) {
      const uint8_t *group = w + (size_t)g * blocks * Q8_STEP;
      uint32_t r = tile;
      for (; r + 4 <= last; r += 4) {
        q8_rows(group, a + r * row_bytes, 4, blocks, 8 * g, columns, bias, y + (size_t)r * y_stride, y_stride);
      }
      for (; r < last; r++) {
        q8_rows(group, a + r * row_bytes, 1, blocks, 8 * g, columns, bias, y + (size_t)r * y_stride, y_stride);
      }
    }
  }
}
