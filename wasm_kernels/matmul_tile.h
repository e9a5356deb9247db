/* Owns the product of many rows with block-quantized weights: 32 inner x 16 columns are widened once and serve a tile of
   rows, two rows at a time. */
#pragma once
#include "matmul_nbits.h"

/* 32 rows x 16 columns of weights as 16-bit pairs in the order of the activation codes, four columns to a vector. */
typedef struct {
  i16x8 pair[16][4];
} wide_block;

/* What multiplies the sums of 4 columns each, and what multiplies the sum of the activations when blocks are affine. */
typedef struct {
  f32x4 scale[4], offset[4];
} wide_scales;

/* One block of 8 columns to the left or right side of `wide`. Codes come out signed, affine ones as they are. */
INLINE void widen_block(const uint8_t *block, uint32_t bits, uint32_t affine, uint32_t side, wide_block *wide,
                        wide_scales *scales) {
  const uint8_t *codes = block + packed_header_bytes(bits, affine);
  const int16_t zero = affine ? 0 : Q4_ZERO;
  for (uint32_t half = 0; half < 2; half++) {
    const uint32_t column = 2 * side + half;
    scales->scale[column] = load_scales(block, bits, half);
    if (affine) scales->offset[column] = load_offsets(block, affine, half, scales->scale[column]);
    if (bits != 4) {
      for (uint32_t p = 0; p < 16; p++) wide->pair[p][column] = load_codes(codes, bits, p, half);
      continue;
    }
    for (int j = 0; j < 4; j++) {
      const u16x8 lanes = load_u16x8(codes + 32 * j + 16 * half);
      for (int nibble = 0; nibble < 4; nibble++) {
        wide->pair[4 * j + nibble][column] = (i16x8)((lanes >> (4 * nibble)) & 15) - zero;
      }
    }
  }
}

INLINE void clear_side(uint32_t side, wide_block *wide, wide_scales *scales) {
  for (uint32_t column = 2 * side; column < 2 * side + 2; column++) {
    scales->scale[column] = scales->offset[column] = splat_f32(0.0f);
    for (int p = 0; p < 16; p++) wide->pair[p][column] = (i16x8){0};
  }
}

/* acc[row] += scale * (scale of row * dot), and offset * (scale of row * sum), for one block of one or two rows. The loop
   stays a loop: engines start a stretch of straight code with its loads, and unrolled they fill more than the registers. */
INLINE void tile_rows(const wide_block *wide, const wide_scales *scales, uint32_t affine, const uint8_t *a,
                      uint32_t rows, f32x4 (*acc)[4]) {
  const i16x8 *w = wide->pair[0], *const end = w + 16 * 4;
  const uint8_t *code = a + 8;
  i32x4 dot[2][4] = {0};
  do {
    OPAQUE(w);
    OPAQUE(code);
    for (uint32_t r = 0; r < rows; r++) {
      const i16x8 q = (i16x8)load_splat_i32(code + r * ACTIVATION_BYTES);
      for (int c = 0; c < 4; c++) dot[r][c] += dot_i16x8(w[c], q);
    }
    w += 4;
    code += 4;
  } while (w != end);
  for (uint32_t r = 0; r < rows; r++, a += ACTIVATION_BYTES) {
    const f32x4 row_scale = load_splat_f32(a), sum = load_splat_f32(a + 4);
    for (int c = 0; c < 4; c++) {
      if (affine) acc[r][c] = madd(scales->offset[c], sum, acc[r][c]);
      acc[r][c] = madd(scales->scale[c], to_f32x4(dot[r][c]) * row_scale, acc[r][c]);
    }
  }
}

/* Up to ROW_TILE rows times the columns of groups g and, unless it is 0, g + distance. */
INLINE void tile_columns(const uint8_t *w, uint32_t bits, uint32_t affine, const uint8_t *a, uint32_t rows,
                         uint32_t blocks, uint32_t g, uint32_t distance, uint32_t columns, const float *bias, float *y,
                         uint32_t y_stride) {
  const size_t step = packed_block_bytes(bits, affine);
  const uint8_t *left = w + g * blocks * step, *right = left + distance * blocks * step;
  f32x4 acc[ROW_TILE][4];
  wide_block wide;
  wide_scales scales;
  for (uint32_t r = 0; r < rows; r++) acc[r][0] = acc[r][1] = acc[r][2] = acc[r][3] = splat_f32(0.0f);
  if (!distance) clear_side(1, &wide, &scales);
  for (uint32_t b = 0; b < blocks; b++, left += step, right += step) {
    uint32_t r = 0;
    widen_block(left, bits, affine, 0, &wide, &scales);
    if (distance) widen_block(right, bits, affine, 1, &wide, &scales);
    for (; r + 2 <= rows; r += 2, a += 2 * ACTIVATION_BYTES) tile_rows(&wide, &scales, affine, a, 2, &acc[r]);
    if (r < rows) tile_rows(&wide, &scales, affine, a, 1, &acc[r]), a += ACTIVATION_BYTES;
  }
  for (uint32_t r = 0; r < rows; r++, y += y_stride) {
    store_group(y, 8 * g, columns, bias, acc[r][0], acc[r][1]);
    if (distance) store_group(y, 8 * (g + distance), columns, bias, acc[r][2], acc[r][3]);
  }
}

/* Any number of rows, a tile at a time. */
INLINE void matmul_tiles(const uint8_t *w, uint32_t bits, uint32_t affine, const uint8_t *a, uint32_t rows,
                         uint32_t blocks, uint32_t begin, uint32_t end, uint32_t columns, const float *bias, float *y,
                         uint32_t y_stride) {
  const uint32_t half = (end - begin) / 2;
  for (uint32_t r = 0; r < rows; r += ROW_TILE) {
    const uint32_t tile = tile_height(rows, r);
    const uint8_t *tile_a = a + (size_t)r * blocks * ACTIVATION_BYTES;
    float *tile_y = y + (size_t)r * y_stride;
    for (uint32_t g = begin; g < begin + half; g++) {
      tile_columns(w, bits, affine, tile_a, tile, blocks, g, half, columns, bias, tile_y, y_stride);
    }
    if (begin + 2 * half < end) {
      tile_columns(w, bits, affine, tile_a, tile, blocks, end - 1, 0, columns, bias, tile_y, y_stride);
    }
  }
}
