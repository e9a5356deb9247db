/* Owns the packed layout of block-quantized weights ("x8"): 8 columns x 32 rows of one matrix in one block.

   4 and 8 bits: 8 float16 scales, [8 float16 offsets or zero points when affine], codes; 16 bits: 8 float32 scales, codes
   4 bits: 128 bytes; byte 32 * j + 4 * c + i holds column c: row 4 * j + i low, row 16 + 4 * j + i high (j, i < 4)
   8 bits: 256 bytes; byte 16 * p + 2 * c + i holds column c, row 2 * p + i as signed code - 128 (p < 16, i < 2)
   16 bits: 512 bytes; the signed code of column c, row 2 * p + i lies at byte 32 * p + 4 * c + 2 * i
   A matrix is [groups of 8 columns][blocks of 32 rows][block]; absent columns have scale 0. */
#pragma once
#include "featherweight_kernels.h"
#include "simd.h"

#define Q4_CODE_BYTES 128
#define Q8_CODE_BYTES 256
#define Q16_CODE_BYTES 512
#define Q4_ZERO 8

/* Activations of a lone row, by blocks: float scale, float scale * sum of codes, then 32 codes of 16 bits. 8 bits would do
   for the products alone, but rounding to them moves SmolLM2's logits by 4 % and one top choice in 30. 32 * 128 * 32767
   fits 32 bits. Beside 4-bit weights a code is 256 * high + low, both -128...127, and lies as such bytes. */
#define ACTIVATION_LEVELS 32767.0f
#define SPLIT_LEVELS 32639.0f
#define ACTIVATION_BYTES (8 + 64)

/* Activations of many rows, by segments of 4 blocks, the last one of those that are left; beside 16-bit weights, which are
   multiplied as they are, a segment is a block. Float scale, 4 bytes unused, then the codes, as a vector no longer than
   CODES_LENGTH. A segment of weights is widened to such codes too. */
#define SEGMENT_BLOCKS 4
#define SEGMENT_HEADER 8

INLINE uint32_t segment_blocks(uint32_t bits, uint32_t blocks, uint32_t first) {
  const uint32_t most = bits == 16 ? 1 : SEGMENT_BLOCKS;
  return blocks - first < most ? blocks - first : most;
}

INLINE size_t segment_bytes(uint32_t blocks) { return SEGMENT_HEADER + 64 * blocks; }

/* Rows of activations that share one pass over a column group; their accumulators stay in the first-level cache.
   Activations are [tiles of so many rows][segments][rows of the tile][segment], so that a pass reads them in order; the
   last tile has the rows that are left. A tile begins where its blocks would. */
#define ROW_TILE 128

INLINE uint32_t tile_height(uint32_t rows, uint32_t first) { return rows - first < ROW_TILE ? rows - first : ROW_TILE; }

INLINE size_t packed_header_bytes(uint32_t bits, uint32_t affine) { return bits == 16 || affine ? 32 : 16; }

INLINE size_t packed_block_bytes(uint32_t bits, uint32_t affine) { return packed_header_bytes(bits, affine) + 32 * bits; }

/* Scales of 4 columns of a block. */
INLINE f32x4 load_scales(const uint8_t *block, uint32_t bits, uint32_t half) {
  return bits == 16 ? load_f32x4((const float *)block + 4 * half) : load_f16x4(block + 8 * half);
}

/* What 4 columns of a block add to each product of a scale and a code. */
INLINE f32x4 load_offsets(const uint8_t *block, uint32_t affine, uint32_t half, f32x4 scale) {
  const f32x4 stored = load_f16x4(block + 16 + 8 * half);
  return affine == FW_ZERO_POINTS ? scale * stored : stored;
}

/* Codes of 2 rows x 4 columns, of 8 or 16 bits. */
INLINE i16x8 load_codes(const uint8_t *codes, uint32_t bits, uint32_t pair, uint32_t half) {
  const uint8_t *p = codes + bits * (2 * pair + half);
  return bits == 16 ? (i16x8)load_u16x8(p) : load_i8x8_as_i16(p);
}

/* Store 8 columns that start at column n; columns beyond `columns` do not exist. */
INLINE void store_group(float *y, uint32_t n, uint32_t columns, const float *bias, f32x4 left, f32x4 right) {
  if (n + 8 <= columns) {
    if (bias) left += load_f32x4(bias + n), right += load_f32x4(bias + n + 4);
    store_f32x4(y + n, left);
    store_f32x4(y + n + 4, right);
    return;
  }
  for (uint32_t c = 0; n + c < columns; c++) {
    float v = c < 4 ? left[c] : right[c - 4];
    y[n + c] = bias ? v + bias[n + c] : v;
  }
}
