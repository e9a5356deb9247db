/* float32 = 15-bit activations x 4-bit weights: four address streams for one row, a tile of rows for many. */
#include "featherweight_kernels.h"
#include "matmul_nbits.h"

/* 4 columns x 32 rows of weights, spread over registers. */
#if HAS_DOT_I8
typedef struct {
  i8x16 low[4], high[4];
} q4_weights;

INLINE q4_weights q4_unpack(const uint8_t *codes) {
  q4_weights w;
  const int16_t keep = 0x0f0f;
  const u16x8 mask = {keep, keep, keep, keep, keep, keep, keep, keep};
  for (int j = 0; j < 4; j++) {
    u16x8 bytes = load_u16x8(codes + 32 * j);
    w.low[j] = (i8x16)(bytes & mask);
    w.high[j] = (i8x16)((bytes >> 4) & mask);
  }
  return w;
}

INLINE i16x8 q4_half_dot(const q4_weights *w, const uint8_t *q) {
  i16x8 sum[2];
  for (int h = 0; h < 2; h++) {
    const i8x16 *part = h ? w->high : w->low;
    const uint8_t *a = q + 16 * h;
    i16x8 left = dot_i8x16_i7x16((i8x16)load_splat_i32(a), part[0]) +
                 dot_i8x16_i7x16((i8x16)load_splat_i32(a + 4), part[1]);
    i16x8 right = dot_i8x16_i7x16((i8x16)load_splat_i32(a + 8), part[2]) +
                  dot_i8x16_i7x16((i8x16)load_splat_i32(a + 12), part[3]);
    sum[h] = left + right;
  }
  return sum[0] + sum[1];
}

INLINE i32x4 q4_dot(const q4_weights *w, const uint8_t *q) {
  const i16x8 high = {128, 128, 128, 128, 128, 128, 128, 128}, low = {1, 1, 1, 1, 1, 1, 1, 1};
  return dot_i16x8(q4_half_dot(w, q), high) + dot_i16x8(q4_half_dot(w, q + Q4_HALF_BYTES), low);
}
#else
typedef struct {
  i16x8 nibble[4][4];
} q4_weights;

INLINE q4_weights q4_unpack(const uint8_t *codes) {
  q4_weights w;
  for (int j = 0; j < 4; j++) {
    u16x8 lanes = load_u16x8(codes + 32 * j);
    w.nibble[j][0] = (i16x8)(lanes & 0x000f);
    w.nibble[j][1] = (i16x8)(lanes & 0x00f0);
    w.nibble[j][2] = (i16x8)(lanes & 0x0f00);
    w.nibble[j][3] = (i16x8)(lanes >> 12);
  }
  return w;
}

INLINE i32x4 q4_half_dot(const q4_weights *w, const uint8_t *q) {
  i32x4 sum = {0, 0, 0, 0};
  for (int j = 0; j < 4; j++) {
    for (int i = 0; i < 4; i++, q += 4) sum += dot_i16x8((i16x8)load_splat_i32(q), w->nibble[j][i]);
  }
  return sum;
}

INLINE i32x4 q4_dot(const q4_weights *w, const uint8_t *q) {
  return (q4_half_dot(w, q) << 7) + q4_half_dot(w, q + Q4_HALF_BYTES);
}
#endif

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
  for (uint32_t b = 0; b < blocks; b++, w += step, a += Q4_ACTIVATION_BYTES) {
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

INLINE void q4_gemm(const uint8_t *w, uint32_t affine, const uint8_t *a, uint32_t rows, uint32_t blocks, uint32_t begin,
                    uint32_t end, uint32_t columns, const float *bias, float *y, uint32_t y_stride) {
  const size_t step = packed_block_bytes(4, affine), codes = step - Q4_CODE_BYTES;
  const size_t row_bytes = (size_t)blocks * Q4_ACTIVATION_BYTES;
  f32x4 acc[ROW_TILE][2];
  for (uint32_t g = begin; g < end; g++) {
    const uint8_t *block = w + g * blocks * step;
    for (uint32_t r = 0; r < rows; r++) acc[r][0] = acc[r][1] = splat_f32(0.0f);
    for (uint32_t b = 0; b < blocks; b++, block += step) {
      for (uint32_t half = 0; half < 2; half++) {
        const q4_weights unpacked = q4_unpack(block + codes + 16 * half);
        const f32x4 scale = load_f16x4(block + 8 * half);
        const f32x4 offset = affine ? load_f16x4(block + 16 + 8 * half) : scale * splat_f32(-Q4_ZERO);
        const uint8_t *row = a + (size_t)b * Q4_ACTIVATION_BYTES;
        for (uint32_t r = 0; r < rows; r++, row += row_bytes) {
          f32x4 product = to_f32x4(q4_dot(&unpacked, row + 8)) * load_splat_f32(row);
          acc[r][half] = madd(scale, product, madd(offset, load_splat_f32(row + 4), acc[r][half]));
        }
      }
    }
    for (uint32_t r = 0; r < rows; r++) {
      store_group(y + (size_t)r * y_stride, 8 * g, columns, bias, acc[r][0], acc[r][1]);
    }
  }
}

INLINE void q4_matmul(const uint8_t *w, uint32_t affine, const uint8_t *a, uint32_t rows, uint32_t blocks,
                      uint32_t begin, uint32_t end, uint32_t columns, const float *bias, float *y, uint32_t y_stride) {
  if (rows == 1) {
    q4_gemv(w, affine, a, blocks, begin, end, columns, bias, y);
    return;
  }
  for (uint32_t r = 0; r < rows; r += ROW_TILE) {
    uint32_t tile = rows - r < ROW_TILE ? rows - r : ROW_TILE;
    q4_gemm(w, affine, a + (size_t)r * blocks * Q4_ACTIVATION_BYTES, tile, blocks, begin, end, columns, bias,
            y + (size_t)r * y_stride, y_stride);
  }
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
