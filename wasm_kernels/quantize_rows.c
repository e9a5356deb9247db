/* Activations to integers, by blocks for a lone row and by segments for many, in the order in which the matmul of the given
   weight width reads them. */
#include "code_rows.h"
#include "featherweight_kernels.h"
#include "float_math.h"
#include "matmul_nbits.h"

/* How codes lie: for 8 and 16 bits as they come; for 4 bits as matmul_q4 finds their nibbles in 16-bit lanes, or in
   bytes. */
enum { IN_TURN, FOR_NIBBLES, FOR_NIBBLES_IN_BYTES };

INLINE i32x4 store_codes(const float *x, f32x4 inverse, uint32_t order, uint32_t j, int16_t *codes) {
  const uint32_t first = order == IN_TURN ? 8 * j : 4 * j, second = order == IN_TURN ? 8 * j + 4 : 16 + 4 * j;
  const i32x4 left = round_f32x4(load_f32x4(x + first) * inverse);
  const i32x4 right = round_f32x4(load_f32x4(x + second) * inverse);
  i16x8 both = narrow_i32x4(left, right);
  if (order == FOR_NIBBLES) both = __builtin_shufflevector(both, both, 0, 2, 4, 6, 1, 3, 5, 7);
  if (order == FOR_NIBBLES_IN_BYTES) {
    const i16x8 high = (i16x8)((u16x8)both + 128) >> 8;
    const i8x8 bytes[2] = {__builtin_convertvector(high, i8x8), __builtin_convertvector(both, i8x8)};
    __builtin_memcpy(codes + 8 * j, bytes, 16);
  } else {
    __builtin_memcpy(codes + 8 * j, &both, 16);
  }
  return left + right;
}

INLINE void quantize_block(const float *x, uint8_t *block, uint32_t bits, uint32_t order) {
  const float levels = bits == 4 ? SPLIT_LEVELS : ACTIVATION_LEVELS;
  const float scale = bits == 16 ? bounded_scale(x, 32) : level_scale(x, 32, levels);
  const f32x4 inverse = inverse_of(scale);
  i32x4 sums = {0, 0, 0, 0};
  for (uint32_t j = 0; j < 4; j++) sums += store_codes(x, inverse, order, j, (int16_t *)(block + 8));
  const float header[2] = {scale, scale * (float)((sums[0] + sums[1]) + (sums[2] + sums[3]))};
  __builtin_memcpy(block, header, 8);
}

/* A lone row, by blocks. */
INLINE void quantize_row(const float *row, uint8_t *block, uint32_t width, uint32_t bits, uint32_t order) {
  uint32_t k = 0;
  for (; k + 32 <= width; k += 32, block += ACTIVATION_BYTES) quantize_block(row + k, block, bits, order);
  if (k == width) return;
  float tail[32] = {0};
  for (uint32_t i = 0; k + i < width; i++) tail[i] = row[k + i];
  quantize_block(tail, block, bits, order);
}

/* A segment of `width` elements, which is a multiple of 32. */
INLINE void quantize_segment(const float *x, uint8_t *segment, uint32_t width, uint32_t order) {
  const float header[2] = {bounded_scale(x, width), 0.0f};
  const f32x4 inverse = inverse_of(header[0]);
  int16_t *codes = (int16_t *)(segment + SEGMENT_HEADER);
  for (uint32_t k = 0; k < width; k += 32) {
    for (uint32_t j = 0; j < 4; j++) store_codes(x + k, inverse, order, j, codes + k);
  }
  __builtin_memcpy(segment, header, SEGMENT_HEADER);
}

INLINE void quantize_rows(const float *x, uint32_t x_stride, uint8_t *blocks, uint32_t rows, uint32_t width,
                          uint32_t bits, uint32_t order, uint32_t begin, uint32_t end) {
  const uint32_t row_blocks = (width + 31) / 32;
  for (uint32_t r = begin; r < end; r++) {
    const uint32_t first = r - r % ROW_TILE, height = tile_height(rows, first);
    const float *row = x + (size_t)r * x_stride;
    uint8_t *tile = blocks + (size_t)first * row_blocks * ACTIVATION_BYTES;
    for (uint32_t k = 0, inner; k < width; k += inner) {
      inner = 32 * segment_blocks(bits, row_blocks, k / 32);
      const size_t bytes = segment_bytes(inner / 32);
      uint8_t *segment = tile + (r - first) * bytes;
      tile += height * bytes;
      if (k + inner <= width) {
        quantize_segment(row + k, segment, inner, order);
      } else {
        float padded[32 * SEGMENT_BLOCKS] = {0};
        for (uint32_t i = 0; k + i < width; i++) padded[i] = row[k + i];
        quantize_segment(padded, segment, inner, order);
      }
    }
  }
}

EXPORT uint32_t fw_activation_block_bytes(void) { return ACTIVATION_BYTES; }

EXPORT void fw_quantize_rows(const float *x, uint32_t x_stride, uint8_t *blocks, uint32_t rows, uint32_t width,
                             uint32_t bits, uint32_t begin, uint32_t end) {
  if (rows > 1) {
    if (bits == 4) {
      quantize_rows(x, x_stride, blocks, rows, width, 4, FOR_NIBBLES, begin, end);
    } else {
      quantize_rows(x, x_stride, blocks, rows, width, bits == 16 ? 16 : 8, IN_TURN, begin, end);
    }
  } else if (begin < end) {
    if (bits == 4) {
      quantize_row(x, blocks, width, 4, HAS_DOT_I8X16 ? FOR_NIBBLES_IN_BYTES : FOR_NIBBLES);
    } else {
      quantize_row(x, blocks, width, bits == 16 ? 16 : 8, IN_TURN);
    }
  }
}
