/* float32 = 16-bit activations x 4-bit weights: in place for one row, in tiles for many. */
#include "featherweight_kernels.h"
#include "matmul_tile.h"

/* Sums of code * weight for the 8 columns of one block. Nibbles are multiplied where they stand in 16-bit lanes, as far
   as 32 bits allow; a power of two is divided out of the sums at the end, which is exact. */
INLINE void q4_dot(const uint8_t *codes, const uint8_t *q, u16x8 low, u16x8 high, i32x4 *dot) {
  const uint8_t *const end = q + 64;
  i32x4 ones[2] = {0}, sixteens[2] = {0};
  do {
    OPAQUE(codes);
    OPAQUE(q);
    for (int half = 0; half < 2; half++) {
      const u16x8 lanes = load_u16x8(codes + 16 * half);
      ones[half] += dot_i16x8((i16x8)(lanes & low), (i16x8)load_splat_i32(q));
      sixteens[half] += dot_i16x8((i16x8)(lanes & high), (i16x8)load_splat_i32(q + 4));
      ones[half] += dot_i16x8((i16x8)((lanes >> 8) & low), (i16x8)load_splat_i32(q + 8));
      ones[half] += dot_i16x8((i16x8)(lanes >> 12), (i16x8)load_splat_i32(q + 12));
    }
    codes += 32;
    q += 16;
  } while (q != end);
  for (int half = 0; half < 2; half++) dot[half] = ones[half] + (sixteens[half] >> 4);
}

/* acc + scale * activation scale * (dot - zero * sum), or with the block's own offset in place of -zero * scale. */
INLINE f32x4 q4_scale(f32x4 acc, i32x4 dot, const uint8_t *block, uint32_t half, const uint8_t *a, uint32_t affine) {
  const f32x4 product = to_f32x4(dot) * load_splat_f32(a), sum = load_splat_f32(a + 4);
  const f32x4 scale = load_scales(block, 4, half);
  if (affine) return madd(scale, product, madd(load_offsets(block, affine, half, scale), sum, acc));
  return madd(scale, madd(sum, splat_f32(-Q4_ZERO), product), acc);
}

INLINE void q4_gemv(const uint8_t *w, uint32_t affine, const uint8_t *a, uint32_t blocks, uint32_t begin, uint32_t end,
                    uint32_t columns, const float *bias, float *y) {
  const size_t step = packed_block_bytes(4, affine), header = packed_header_bytes(4, affine);
  const uint8_t *block = w + begin * blocks * step;
  u16x8 low = (u16x8){0} + 0x000f, high = (u16x8){0} + 0x00f0;
  KEEP(low);
  KEEP(high);
  for (uint32_t g = begin; g < end; g++) {
    f32x4 acc[2] = {0};
    for (uint32_t b = 0; b < blocks; b++, block += step) {
      const uint8_t *row = a + b * ACTIVATION_BYTES;
      i32x4 dot[2];
      q4_dot(block + header, row + 8, low, high, dot);
      for (uint32_t half = 0; half < 2; half++) acc[half] = q4_scale(acc[half], dot[half], block, half, row, affine);
    }
    store_group(y, 8 * g, columns, bias, acc[0], acc[1]);
  }
}

INLINE void q4_matmul(const uint8_t *w, uint32_t affine, const uint8_t *a, uint32_t rows, uint32_t blocks,
                      uint32_t begin, uint32_t end, uint32_t columns, const float *bias, float *y, uint32_t y_stride) {
  if (rows == 1) {
    q4_gemv(w, affine, a, blocks, begin, end, columns, bias, y);
  } else {
    matmul_tiles(w, 4, affine, a, rows, blocks, begin, end, columns, bias, y, y_stride);
  }
}

EXPORT void fw_matmul_q4(const uint8_t *w, uint32_t affine, const uint8_t *a, uint32_t rows, uint32_t blocks,
                         uint32_t begin, uint32_t end, uint32_t columns, const float *bias, float *y,
                         uint32_t y_stride) {
  if (affine == FW_OFFSETS) {
    q4_matmul(w, FW_OFFSETS, a, rows, blocks, begin, end, columns, bias, y, y_stride);
  } else if (affine == FW_ZERO_POINTS) {
    q4_matmul(w, FW_ZERO_POINTS, a, rows, blocks, begin, end, columns, bias, y, y_stride);
  } else {
    q4_matmul(w, FW_SYMMETRIC, a, rows, blocks, begin, end, columns, bias, y, y_stride);
  }
}
