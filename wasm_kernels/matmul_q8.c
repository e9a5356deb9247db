/* float32 = 16-bit activations x 8-bit or 16-bit weights, whose codes are multiplied as they are: in place for one row,
   in tiles for many. */
#include "featherweight_kernels.h"
#include "matmul_tile.h"

/* One row times the columns of `groups` (1 or 2) groups that lie `distance` bytes apart. */
INLINE void row_groups(const uint8_t *w, uint32_t bits, size_t distance, uint32_t groups, const uint8_t *a,
                       uint32_t blocks, f32x4 *acc) {
  const size_t header = packed_header_bytes(bits, 0);
  for (uint32_t b = 0; b < blocks; b++, w += packed_block_bytes(bits, 0), a += ACTIVATION_BYTES) {
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
    const f32x4 scale = load_splat_f32(a);
    for (uint32_t i = 0; i < 2 * groups; i++) {
      acc[i] = madd(to_f32x4(dot[i]) * scale, load_scales(w + i / 2 * distance, bits, i % 2), acc[i]);
    }
  }
}

INLINE void matmul_codes(const uint8_t *w, uint32_t bits, const uint8_t *a, uint32_t rows, uint32_t blocks,
                         uint32_t begin, uint32_t end, uint32_t columns, const float *bias, float *y,
                         uint32_t y_stride) {
  if (rows > 1) {
    matmul_tiles(w, bits, 0, a, rows, blocks, begin, end, columns, bias, y, y_stride);
    return;
  }
  const size_t group = blocks * packed_block_bytes(bits, 0);
  uint32_t g = begin;
  for (; g + 2 <= end; g += 2) {
    f32x4 acc[4] = {0};
    row_groups(w + g * group, bits, group, 2, a, blocks, acc);
    store_group(y, 8 * g, columns, bias, acc[0], acc[1]);
    store_group(y, 8 * g + 8, columns, bias, acc[2], acc[3]);
  }
  if (g < end) {
    f32x4 acc[2] = {0};
    row_groups(w + g * group, bits, 0, 1, a, blocks, acc);
    store_group(y, 8 * g, columns, bias, acc[0], acc[1]);
  }
}

EXPORT void fw_matmul_q8(const uint8_t *w, const uint8_t *a, uint32_t rows, uint32_t blocks, uint32_t begin,
                         uint32_t end, uint32_t columns, const float *bias, float *y, uint32_t y_stride) {
  matmul_codes(w, 8, a, rows, blocks, begin, end, columns, bias, y, y_stride);
}

EXPORT void fw_matmul_q16(const uint8_t *w, const uint8_t *a, uint32_t rows, uint32_t blocks, uint32_t begin,
                          uint32_t end, uint32_t columns, const float *bias, float *y, uint32_t y_stride) {
  matmul_codes(w, 16, a, rows, blocks, begin, end, columns, bias, y, y_stride);
}
