/* float32 = 16-bit activations x 8-bit weights: in place for one row, in tiles for many. */
#include "featherweight_kernels.h"
#include "matmul_tile.h"

#define Q8_STEP (16 + Q8_CODE_BYTES)

/* One row times the columns of `groups` (1 or 2) groups that lie `distance` bytes apart. */
INLINE void q8_groups(const uint8_t *w, size_t distance, uint32_t groups, const uint8_t *a, uint32_t blocks,
                      f32x4 *acc) {
  for (uint32_t b = 0; b < blocks; b++, w += Q8_STEP, a += ACTIVATION_BYTES) {
    const uint8_t *codes[2] = {w + 16, w + 16 + distance}, *q = a + 8, *const end = q + 64;
    i32x4 dot[4] = {0};
    do {
      OPAQUE(q);
      const i16x8 code = (i16x8)load_splat_i32(q);
      for (uint32_t s = 0; s < groups; s++) {
        OPAQUE(codes[s]);
        dot[2 * s] += dot_i16x8(load_i8x8_as_i16(codes[s]), code);
        dot[2 * s + 1] += dot_i16x8(load_i8x8_as_i16(codes[s] + 8), code);
        codes[s] += 16;
      }
      q += 4;
    } while (q != end);
    const f32x4 scale = load_splat_f32(a);
    for (uint32_t s = 0; s < groups; s++) {
      acc[2 * s] = madd(to_f32x4(dot[2 * s]) * scale, load_f16x4(w + s * distance), acc[2 * s]);
      acc[2 * s + 1] = madd(to_f32x4(dot[2 * s + 1]) * scale, load_f16x4(w + s * distance + 8), acc[2 * s + 1]);
    }
  }
}

static void q8_gemv(const uint8_t *w, const uint8_t *a, uint32_t blocks, uint32_t begin, uint32_t end, uint32_t columns,
                    const float *bias, float *y) {
  const size_t group = (size_t)blocks * Q8_STEP;
  uint32_t g = begin;
  for (; g + 2 <= end; g += 2) {
    f32x4 acc[4] = {0};
    q8_groups(w + g * group, group, 2, a, blocks, acc);
    store_group(y, 8 * g, columns, bias, acc[0], acc[1]);
    store_group(y, 8 * g + 8, columns, bias, acc[2], acc[3]);
  }
  if (g < end) {
    f32x4 acc[2] = {0};
    q8_groups(w + g * group, 0, 1, a, blocks, acc);
    store_group(y, 8 * g, columns, bias, acc[0], acc[1]);
  }
}

EXPORT void fw_matmul_q8(const uint8_t *w, const uint8_t *a, uint32_t rows, uint32_t blocks, uint32_t begin,
                         uint32_t end, uint32_t columns, const float *bias, float *y, uint32_t y_stride) {
  if (rows == 1) {
    q8_gemv(w, a, blocks, begin, end, columns, bias, y);
  } else {
    matmul_tiles(w, 8, 0, a, rows, blocks, begin, end, columns, bias, y, y_stride);
  }
}
