/* Owns the product of many rows with block-quantized weights: a block is widened once and serves a tile of rows. */
#pragma once
#include "matmul_nbits.h"

/* Rows whose sums stay in registers together. */
#define ROW_GROUP 4

/* 32 rows x 8 columns of weights as 16-bit pairs in the order of the activation codes: [pair][left, right 4 columns]. */
typedef struct {
  i16x8 pair[16][2];
} wide_block;

INLINE void widen_q4(const uint8_t *codes, wide_block *wide) {
  for (int j = 0; j < 4; j++) {
    for (int half = 0; half < 2; half++) {
      const u16x8 lanes = load_u16x8(codes + 32 * j + 16 * half);
      for (int nibble = 0; nibble < 4; nibble++) {
        wide->pair[4 * j + nibble][half] = (i16x8)((lanes >> (4 * nibble)) & 15);
      }
    }
  }
}

INLINE void widen_q8(const uint8_t *codes, wide_block *wide) {
  for (int p = 0; p < 16; p++) {
    for (int half = 0; half < 2; half++) wide->pair[p][half] = load_i8x8_as_i16(codes + 16 * p + 8 * half);
  }
}

/* acc[row][half] += scale * (scale of row * dot) + offset * (scale of row * sum), for `rows` rows of one block. */
INLINE void tile_block(const wide_block *wide, const uint8_t *a, size_t row_bytes, uint32_t rows, const f32x4 *scale,
                       const f32x4 *offset, f32x4 (*acc)[2]) {
  i32x4 dot[ROW_GROUP][2] = {0};
  for (int p = 0; p < 16; p++) {
    const i16x8 left = wide->pair[p][0], right = wide->pair[p][1];
    for (uint32_t r = 0; r < rows; r++) {
      const i16x8 q = (i16x8)load_splat_i32(a + r * row_bytes + 8 + 4 * p);
      dot[r][0] += dot_i16x8(left, q);
      dot[r][1] += dot_i16x8(right, q);
    }
  }
  for (uint32_t r = 0; r < rows; r++) {
    const f32x4 row_scale = load_splat_f32(a + r * row_bytes), sum = load_splat_f32(a + r * row_bytes + 4);
    for (int half = 0; half < 2; half++) {
      f32x4 product = to_f32x4(dot[r][half]) * row_scale;
      if (offset) acc[r][half] = madd(offset[half], sum, acc[r][half]);
      acc[r][half] = madd(scale[half], product, acc[r][half]);
    }
  }
}

INLINE void matmul_tile(const uint8_t *w, uint32_t bits, uint32_t affine, const uint8_t *a, uint32_t rows,
                        uint32_t blocks, uint32_t begin, uint32_t end, uint32_t columns, const float *bias, float *y,
                        uint32_t y_stride) {
  const size_t step = packed_block_bytes(bits, affine), header = affine ? 32 : 16;
  const size_t row_bytes = (size_t)blocks * ACTIVATION_BYTES;
  f32x4 acc[ROW_TILE][2];
  wide_block wide;
  for (uint32_t g = begin; g < end; g++) {
    const uint8_t *block = w + g * blocks * step;
    for (uint32_t r = 0; r < rows; r++) acc[r][0] = acc[r][1] = splat_f32(0.0f);
    for (uint32_t b = 0; b < blocks; b++, block += step) {
      const f32x4 scale[2] = {load_f16x4(block), load_f16x4(block + 8)};
      f32x4 offset[2];
      for (int half = 0; half < 2; half++) {
        offset[half] = affine ? load_f16x4(block + 16 + 8 * half) : scale[half] * splat_f32(-Q4_ZERO);
      }
      if (bits == 4) {
        widen_q4(block + header, &wide);
      } else {
        widen_q8(block + header, &wide);
      }
      const uint8_t *row = a + (size_t)b * ACTIVATION_BYTES;
      const f32x4 *offsets = bits == 4 ? offset : 0; /* 8-bit codes are stored signed */
      uint32_t r = 0;
      for (; r + ROW_GROUP <= rows; r += ROW_GROUP) {
        tile_block(&wide, row + r * row_bytes, row_bytes, ROW_GROUP, scale, offsets, &acc[r]);
      }
      for (; r < rows; r++) tile_block(&wide, row + r * row_bytes, row_bytes, 1, scale, offsets, &acc[r]);
    }
    for (uint32_t r = 0; r < rows; r++) {
      store_group(y + (size_t)r * y_stride, 8 * g, columns, bias, acc[r][0], acc[r][1]);
    }
  }
}

/* Any number of rows, a tile at a time. */
INLINE void matmul_tiles(const uint8_t *w, uint32_t bits, uint32_t affine, const uint8_t *a, uint32_t rows,
                         uint32_t blocks, uint32_t begin, uint32_t end, uint32_t columns, const float *bias, float *y,
                         uint32_t y_stride) {
  for (uint32_t r = 0; r < rows; r += ROW_TILE) {
    const uint32_t tile = rows - r < ROW_TILE ? rows - r : ROW_TILE;
    matmul_tile(w, bits, affine, a + (size_t)r * blocks * ACTIVATION_BYTES, tile, blocks, begin, end, columns, bias,
                y + (size_t)r * y_stride, y_stride);
  }
}
