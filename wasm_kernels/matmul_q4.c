/* float32 = 16-bit activations x 4-bit weights: four address streams for one row, a tile of rows for many. */
#include "featherweight_kernels.h"
#include "matmul_tile.h"

/* 4 columns x 32 rows of weights: nibbles where they stood in 16-bit lanes, so that only the last needs a shift. */
typedef struct {
  i16x8 ones[4], sixteens[4], many[4], top[4]; /* times 1, 16, 256, 1 */
} q4_weights;

INLINE q4_weights q4_unpack(const uint8_t *codes) {
  q4_weights w;
  for (int j = 0; j < 4; j++) {
    u16x8 lanes = load_u16x8(codes + 32 * j);
    w.ones[j] = (i16x8)(lanes & 0x000f);
    w.sixteens[j] = (i16x8)(lanes & 0x00f0);
    w.many[j] = (i16x8)(lanes & 0x0f00);
    w.top[j] = (i16x8)(lanes >> 12);
  }
  return w;
}

/* Sums of code * weight for 4 columns; the multiples are divided out of the sums, which is exact. */
INLINE i32x4 q4_dot(const q4_weights *w, const uint8_t *q) {
  i32x4 ones = {0, 0, 0, 0}, sixteens = ones, many = ones;
  for (int j = 0; j < 4; j++, q += 16) {
    ones += dot_i16x8((i16x8)load_splat_i32(q), w->ones[j]);
    sixteens += dot_i16x8((i16x8)load_splat_i32(q + 4), w->sixteens[j]);
    many += dot_i16x8((i16x8)load_splat_i32(q + 8), w->many[j]);
    ones += dot_i16x8((i16x8)load_splat_i32(q + 12), w->top[j]);
  }
  return ones + (sixteens >> 4) + (many >> 8);
}

/* acc + scale * activation scale * (dot - zero * sum), or with the block's own offset in place of -zero * scale. */
INLINE f32x4 q4_scale(f32x4 acc, i32x4 dot, const uint8_t *block, const uint8_t *a, uint32_t affine) {
  f32x4 product = to_f32x4(dot) * load_splat_f32(a), sum = load_splat_f32(a + 4), scale = load_f16x4(block);
  if (affine) return madd(scale, product, madd(load_f16x4(block + 16), sum, acc));
  return madd(scale, madd(sum, splat_f32(-Q4_ZERO), product), acc);
}

/* One row times `streams` column groups that lie `distance` bytes apart: memory is read from as many places at once. */
INLINE void q4_row(const uint8_t *w, size_t distance, uint32_t streams, uint32_t affine, const uint8_t *a,
                   uint32_t blocks, f32x4 *acc) {
  const size_t step = packed_block_bytes(4, affine), codes = step - Q4_CODE_BYTES;
  for (uint32_t s = 0; s < 2 * streams; s++) acc[s] = splat_f32(0.0f);
  for (uint32_t b = 0; b < blocks; b++, w += step, a += ACTIVATION_BYTES) {
    for (uint32_t s = 0; s < streams; s++) {
      const uint8_t *block = w + s * distance;
      for (uint32_t half = 0; half < 2; half++) {
        q4_weights unpacked = q4_unpack(block + codes + 16 * half);
        i32x4 dot = q4_dot(&unpacked, a + 8);
        acc[2 * s + half] = q4_scale(acc[2 * s + half], dot, block + 8 * half, a, affine);
      }
    }
  }
}

INLINE void q4_gemv(const uint8_t *w, uint32_t affine, const uint8_t *a, uint32_t blocks, uint32_t begin, uint32_t end,
                    uint32_t columns, const float *bias, float *y) {
  const size_t group = blocks * packed_block_bytes(4, affine);
  const uint32_t quarter = (end - begin) / 4;
  f32x4 acc[8];
  for (uint32_t g = begin; g < begin + quarter; g++) {
    q4_row(w + g * group, quarter * group, 4, affine, a, blocks, acc);
    for (uint32_t s = 0; s < 4; s++) store_group(y, 8 * (g + s * quarter), columns, bias, acc[2 * s], acc[2 * s + 1]);
  }
  for (uint32_t g = begin + 4 * quarter; g < end; g++) {
    q4_row(w + g * group, 0, 1, affine, a, blocks, acc);
    store_group(y, 8 * g, columns, bias, acc[0], acc[1]);
  }
}

INLINE void q4_matmul(const uint8_t *w, uint32_t affine, const uint8_t *a, uint32_t rows, uint32_t blocks,
                      uint32_t begin, uint32_t end, uint32_t columns, const float *bias, float *y, uint32_t y_stride) {
  if (rows == 1) {
    q4_gemv(w, affine, a, blocks, begin, end, columns, bias, y);
    return;
  }
  matmul_tiles(w, 4, affine, a, rows, blocks, begin, end, columns, bias, y, y_stride);
}

EXPORT void fw_matmul_q4(const uint8_t *w, uint32_t affine, const uint8_t *a, uint32_t rows, uint32_t blocks,
                         uint32_t begin, uint32_t end, uint32_t columns, const float *bias, float *y,
                         uint32_t y_stride) {
  if (affine) {
    q4_matmul(w, 1, a, rows, blocks, begin, end, columns, bias, y, y_stride);
  } else {
    q4_matmul(w, 0, a, rows, blocks, begin, end, columns, bias, y, y_stride);
  }
}
