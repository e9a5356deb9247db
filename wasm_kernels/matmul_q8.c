/* float32 = 16-bit activations x 8-bit or 16-bit weights, whose codes are multiplied as they are: in place for one row,
   in tiles for many. */
#include "featherweight_kernels.h"
#include "matmul_tile.h"

/* One row times the columns of `groups` (1 or 2) groups that lie `distance` bytes apart: with two halves of a matrix each
   read in one go, prefetching reaches the bandwidth of plain reads; with neighbours that take turns it does not. */
INLINE void row_groups(const uint8_t *w, uint32_t bits, uint32_t affine, size_t distance, uint32_t groups, const uint8_t *a,
                       uint32_t blocks, f32x4 *acc) {
  const size_t header = packed_header_bytes(bits, affine);
  for (uint32_t b = 0; b < blocks; b++, w += packed_block_bytes(bits, affine), a += ACTIVATION_BYTES) {
    const uint8_t *codes[2] = {w + header, w + header + distance}, *q = a + 8, *const end = q + 64;
    i32x4 dot[4] = {0};
    do {
      OPAQUE(q);
      const i16x8 code = (i16x8)load_splat_i32(q);
      for (uint32_t s = 0; s < groups; s++) {
        OPAQUE(codes[s]);
        dot[2 * s] += dot_i16x8(load_codes(codes[s], bits, 0, 0), code);
        dot[2 * s + 1] += dot_i16x8(load_codes(codes[s], bits, 0, 1), code);
        codes[s] += 2 * bits;
      }
      q += 4;
    } while (q != end);
    const f32x4 row_scale = load_splat_f32(a), sum = load_splat_f32(a + 4);
    for (uint32_t i = 0; i < 2 * groups; i++) {
      const uint8_t *block = w + i / 2 * distance;
      const f32x4 scale = load_scales(block, bits, i % 2);
      if (affine) acc[i] = madd(load_offsets(block, affine, i % 2, scale), sum, acc[i]);
      acc[i] = madd(to_f32x4(dot[i]) * row_scale, scale, acc[i]);
    }
  }
}

INLINE void gemv(const uint8_t *w, uint32_t bits, uint32_t affine, const uint8_t *a, uint32_t blocks, uint32_t begin,
                 uint32_t end, uint32_t columns, const float *bias, float *y) {
  const size_t group = blocks * packed_block_bytes(bits, affine);
  const uint32_t half = (end - begin) / 2;
  for (uint32_t g = begin; g < begin + half; g++) {
    f32x4 acc[4] = {0};
    row_groups(w + g * group, bits, affine, half * group, 2, a, blocks, acc);
    store_group(y, 8 * g, columns, bias, acc[0], acc[1]);
    store_group(y, 8 * (g + half), columns, bias, acc[2], acc[3]);
  }
  if (begin + 2 * half < end) {
    f32x4 acc[2] = {0};
    row_groups(w + (end - 1) * group, bits, affine, 0, 1, a, blocks, acc);
    store_group(y, 8 * (end - 1), columns, bias, acc[0], acc[1]);
  }
}

MATMUL(symmetric, 8, FW_SYMMETRIC)
MATMUL(zero_points, 8, FW_ZERO_POINTS)
MATMUL(q16, 16, FW_SYMMETRIC)

EXPORT void fw_matmul_q8(const uint8_t *w, uint32_t affine, const uint8_t *a, uint32_t rows, uint32_t blocks,
                         uint32_t begin, uint32_t end, uint32_t columns, const float *bias, float *y,
                         uint32_t y_stride) {
  if (affine) {
    matmul_zero_points(w, a, rows, blocks, begin, end, columns, bias, y, y_stride);
  } else {
    matmul_symmetric(w, a, rows, blocks, begin, end, columns, bias, y, y_stride);
  }
}

EXPORT void fw_matmul_q16(const uint8_t *w, const uint8_t *a, uint32_t rows, uint32_t blocks, uint32_t begin,
                          uint32_t end, uint32_t columns, const float *bias, float *y, uint32_t y_stride) {
  matmul_q16(w, a, rows, blocks, begin, end, columns, bias, y, y_stride);
}
