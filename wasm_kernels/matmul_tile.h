/* Owns the product of many rows with block-quantized weights: a segment of 16 columns is widened once, to 16-bit codes
   with one scale a column, and serves a tile of rows, two rows at a time. */
#pragma once
#include "code_rows.h"
#include "matmul_nbits.h"

/* Both factors are vectors of bounded length, as in code_rows.h. Of weights the largest possible length counts, and three
   roundings make each code wrong by up to 1.5, a segment longer by 17. */
#define WEIGHTS_LENGTH 46300.0f

/* Rows of weights as pairs of 16-bit codes in the order of the activation codes, four columns to a vector; and what one
   step of each column stands for. */
typedef struct {
  i16x8 pair[16 * SEGMENT_BLOCKS][4];
  f32x4 step[4];
} wide_segment;

/* The same code for both elements of a pair, from the nearest integer in each lane. */
INLINE i16x8 both_of_pair(f32x4 v) {
  const i32x4 code = round_f32x4(v);
  return (i16x8)((code & 0xffff) | (code << 16));
}

/* Codes of the 8 columns of a block times `scale`, plus `offset` unless the format has none. Codes of 8 bits come times 2^8,
   of 4 bits times 2^11. */
INLINE void widen_block(const uint8_t *codes, uint32_t bits, uint32_t affine, const i16x8 *scale, const i16x8 *offset,
                        i16x8 (*pair)[4]) {
  if (bits == 8) {
    for (uint32_t p = 0; p < 16; p++) {
      const i8x16 both = (i8x16)load_u16x8(codes + 16 * p);
      const i16x8 left = multiply_q15(raise_low_i8x16(both), scale[0]);
      const i16x8 right = multiply_q15(raise_high_i8x16(both), scale[1]);
      pair[p][0] = affine ? left + offset[0] : left;
      pair[p][1] = affine ? right + offset[1] : right;
    }
    return;
  }
  for (uint32_t half = 0; half < 2; half++) {
    for (uint32_t j = 0; j < 4; j++) {
      const u16x8 lanes = load_u16x8(codes + 32 * j + 16 * half);
      for (uint32_t nibble = 0; nibble < 4; nibble++) {
        const u16x8 high = nibble == 3 ? lanes >> 1 : lanes << (11 - 4 * nibble);
        pair[4 * j + nibble][half] = multiply_q15((i16x8)(high & 0x7800), scale[half]) + offset[half];
      }
    }
  }
}

/* What a code of 1 stands for and what one of 0 does, in 4 columns of the blocks of a segment; and how many steps of the
   16-bit codes make 1. */
typedef struct {
  f32x4 scale[SEGMENT_BLOCKS], offset[SEGMENT_BLOCKS], inverse;
} column_scales;

/* Returns what one step of the 16-bit codes stands for. The scales, of float16, are neither so large nor so small that their
   squares would leave a float's range. */
INLINE f32x4 load_column_scales(const uint8_t *block, uint32_t bits, uint32_t affine, uint32_t half, uint32_t blocks,
                                column_scales *s) {
  f32x4 squares = splat_f32(1e-20f);
  for (uint32_t b = 0; b < blocks; b++, block += packed_block_bytes(bits, affine)) {
    s->scale[b] = load_scales(block, bits, half);
    const f32x4 middle = s->scale[b] * splat_f32(bits == 4 ? Q4_ZERO : 0.0f);
    s->offset[b] = affine ? load_offsets(block, affine, half, s->scale[b]) : -middle;
    f32x4 bound = s->scale[b] * splat_f32(bits == 4 ? 8.0f : 128.0f); /* of the magnitudes in a column of a block */
    if (affine) bound = abs_f32x4(bound) + abs_f32x4(s->offset[b] + middle);
    squares = madd(bound, bound, squares);
  }
  const f32x4 length = sqrt_f32x4(squares * splat_f32(32.0f));
  s->inverse = splat_f32(WEIGHTS_LENGTH) / length;
  return length * splat_f32(1 / WEIGHTS_LENGTH);
}

/* 8 columns of `blocks` blocks to vectors `column` and `column` + 1 of `wide`. */
INLINE void widen_group(const uint8_t *block, uint32_t bits, uint32_t affine, uint32_t blocks, uint32_t column,
                        const column_scales *s, wide_segment *wide) {
  const f32x4 unit = splat_f32(bits == 4 ? 16.0f : 128.0f);
  for (uint32_t b = 0; b < blocks; b++, block += packed_block_bytes(bits, affine)) {
    i16x8 scale[2], offset[2];
    for (uint32_t half = 0; half < 2; half++) {
      scale[half] = both_of_pair(s[half].scale[b] * (s[half].inverse * unit));
      offset[half] = both_of_pair(s[half].offset[b] * s[half].inverse);
    }
    widen_block(block + packed_header_bytes(bits, affine), bits, affine, scale, offset,
                (i16x8(*)[4]) & wide->pair[16 * b][column]);
  }
}

/* 16 columns, or 8 when there is no right group, of `blocks` blocks. All lengths are computed before the first code is
   widened: each takes a root and a quotient, for which the next need not wait. */
INLINE void widen_groups(const uint8_t *left, const uint8_t *right, uint32_t bits, uint32_t affine, uint32_t blocks,
                         wide_segment *wide) {
  const uint8_t *group[2] = {left, right};
  const uint32_t groups = right ? 2 : 1;
  column_scales scales[4];
  for (uint32_t c = 0; c < 2 * groups; c++) {
    wide->step[c] = load_column_scales(group[c / 2], bits, affine, c % 2, blocks, &scales[c]);
  }
  for (uint32_t g = 0; g < groups; g++) widen_group(group[g], bits, affine, blocks, 2 * g, &scales[2 * g], wide);
}

INLINE void clear_columns(uint32_t column, wide_segment *wide) {
  wide->step[column] = splat_f32(0.0f);
  for (int p = 0; p < 16 * SEGMENT_BLOCKS; p++) wide->pair[p][column] = (i16x8){0};
}

/* acc[row] += step * (scale of row * dot) for a segment of one or two rows. The codes of both groups stand side by side at w,
   or, `apart`, those of the left one at w and those of the right one at `right`. The loop stays a loop: engines start a
   stretch of straight code with its loads, and unrolled they fill more than the registers. */
INLINE void tile_rows(const i16x8 *w, const i16x8 *right, uint32_t apart, const f32x4 *step, uint32_t blocks,
                      const uint8_t *a, uint32_t rows, f32x4 (*acc)[4]) {
  const uint32_t stride = apart ? 2 : 4;
  const i16x8 *const end = w + 16 * blocks * stride;
  const size_t row_bytes = segment_bytes(blocks);
  const uint8_t *code[2] = {a + SEGMENT_HEADER, a + SEGMENT_HEADER + row_bytes};
  i32x4 dot[2][4] = {0};
  do {
    OPAQUE(w);
    if (apart) OPAQUE(right);
    for (uint32_t r = 0; r < rows; r++) {
      OPAQUE(code[r]);
      const i16x8 q = (i16x8)load_splat_i32(code[r]);
      for (int c = 0; c < 4; c++) dot[r][c] += dot_i16x8((i16x8)load_u16x8(apart && c >= 2 ? right + c - 2 : w + c), q);
      code[r] += 4;
    }
    w += stride;
    right += stride;
  } while (w != end);
  for (uint32_t r = 0; r < rows; r++, a += row_bytes) {
    const f32x4 row_scale = load_splat_f32(a);
    for (int c = 0; c < 4; c++) acc[r][c] = madd(step[c], to_f32x4(dot[r][c]) * row_scale, acc[r][c]);
  }
}

/* A segment of all rows times 16 columns, or 8 when there is no right group: 16-bit codes have bounded length and are
   multiplied where they lie, others are widened. */
INLINE void tile_segment(const uint8_t *left, const uint8_t *right, uint32_t bits, uint32_t affine, uint32_t blocks,
                         const uint8_t *a, uint32_t rows, wide_segment *wide, f32x4 (*acc)[4]) {
  const uint32_t apart = bits == 16;
  const i16x8 *codes = wide->pair[0], *right_codes = codes;
  if (apart) {
    const uint8_t *group[2] = {left, right ? right : left};
    for (uint32_t c = 0; c < 4; c++) wide->step[c] = load_scales(group[c / 2], 16, c % 2);
    codes = (const i16x8 *)(group[0] + packed_header_bytes(16, 0));
    right_codes = (const i16x8 *)(group[1] + packed_header_bytes(16, 0));
  } else {
    widen_groups(left, right, bits, affine, blocks, wide);
  }
  uint32_t r = 0;
  for (; r + 2 <= rows; r += 2, a += 2 * segment_bytes(blocks)) {
    tile_rows(codes, right_codes, apart, wide->step, blocks, a, 2, &acc[r]);
  }
  if (r < rows) tile_rows(codes, right_codes, apart, wide->step, blocks, a, 1, &acc[r]);
}

/* Up to ROW_TILE rows times the columns of groups g and, unless it is 0, g + distance. */
INLINE void tile_columns(const uint8_t *w, uint32_t bits, uint32_t affine, const uint8_t *a, uint32_t rows,
                         uint32_t blocks, uint32_t g, uint32_t distance, uint32_t columns, const float *bias, float *y,
                         uint32_t y_stride) {
  const size_t step = packed_block_bytes(bits, affine);
  f32x4 acc[ROW_TILE][4];
  wide_segment wide;
  for (uint32_t r = 0; r < rows; r++) acc[r][0] = acc[r][1] = acc[r][2] = acc[r][3] = splat_f32(0.0f);
  if (!distance && bits != 16) clear_columns(2, &wide), clear_columns(3, &wide);
  for (uint32_t b = 0, inner; b < blocks; b += inner, a += rows * segment_bytes(inner)) {
    inner = segment_blocks(bits, blocks, b);
    const uint8_t *left = w + (g * blocks + b) * step;
    tile_segment(left, distance ? left + distance * blocks * step : NULL, bits, affine, inner, a, rows, &wide, acc);
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

/* matmul_KIND, of one kind of weights: the file's own gemv for one row, tiles for many. */
#define MATMUL(kind, bits, affine)                                                                                     \
  VARIANT void gemv_##kind(const uint8_t *w, const uint8_t *a, uint32_t blocks, uint32_t begin, uint32_t end,          \
                           uint32_t columns, const float *bias, float *y) {                                            \
    gemv(w, bits, affine, a, blocks, begin, end, columns, bias, y);                                                    \
  }                                                                                                                    \
  VARIANT void tiles_##kind(const uint8_t *w, const uint8_t *a, uint32_t rows, uint32_t blocks, uint32_t begin,        \
                            uint32_t end, uint32_t columns, const float *bias, float *y, uint32_t y_stride) {          \
    matmul_tiles(w, bits, affine, a, rows, blocks, begin, end, columns, bias, y, y_stride);                            \
  }                                                                                                                    \
  INLINE void matmul_##kind(const uint8_t *w, const uint8_t *a, uint32_t rows, uint32_t blocks, uint32_t begin,        \
                            uint32_t end, uint32_t columns, const float *bias, float *y, uint32_t y_stride) {          \
    if (rows == 1) gemv_##kind(w, a, blocks, begin, end, columns, bias, y);                                            \
    else tiles_##kind(w, a, rows, blocks, begin, end, columns, bias, y, y_stride);                                     \
  }
