/* Activations to blocks of 32 integers, in the order in which the matmul of the given weight width reads them. */
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
  f32x4 poison = splat_f32(0.0f);
  const float largest = largest_magnitude(x, 32, &poison);
  const int zero = largest < 1e-30f; /* 1 / scale would overflow */
  float scale = zero ? 0.0f : largest / levels, inverse = zero ? 0.0f : levels / largest;
  if (bits == 16 && !zero) {
    scale = wide_scale_of(x, 32, largest);
    inverse = 1.0f / scale;
  }
  i32x4 sums = {0, 0, 0, 0};
  for (uint32_t j = 0; j < 4; j++) sums += store_codes(x, splat_f32(inverse), order, j, (int16_t *)(block + 8));
  scale += sum_f32x4(poison);
  const float header[2] = {scale, scale * (float)((sums[0] + sums[1]) + (sums[2] + sums[3]))};
  __builtin_memcpy(block, header, 8);
}

INLINE void quantize_rows(const float *x, uint32_t x_stride, uint8_t *blocks, uint32_t rows, uint32_t width,
                          uint32_t bits, uint32_t order, uint32_t begin, uint32_t end) {
  const size_t row_bytes = (size_t)((width + 31) / 32) * ACTIVATION_BYTES;
  for (uint32_t r = begin; r < end; r++) {
    const uint32_t first = r - r % ROW_TILE;
    const size_t step = (size_t)tile_height(rows, first) * ACTIVATION_BYTES;
    const float *row = x + (size_t)r * x_stride;
    uint8_t *block = blocks + first * row_bytes + (size_t)(r - first) * ACTIVATION_BYTES;
    uint32_t k = 0;
    for (; k + 32 <= width; k += 32, block += step) quantize_block(row + k, block, bits, order);
    if (k == width) continue;
    float tail[32] = {0};
    for (uint32_t i = 0; k + i < width; i++) tail[i] = row[k + i];
    quantize_block(tail, block, bits, order);
  }
}

EXPORT uint32_t fw_activation_block_bytes(void) { return ACTIVATION_BYTES; }

EXPORT void fw_quantize_rows(const float *x, uint32_t x_stride, uint8_t *blocks, uint32_t rows, uint32_t width,
                             uint32_t bits, uint32_t begin, uint32_t end) {
  if (bits == 4 && rows == 1 && HAS_DOT_I8X16) {
    quantize_rows(x, x_stride, blocks, rows, width, 4, FOR_NIBBLES_IN_BYTES, begin, end);
  } else if (bits == 4) {
    quantize_rows(x, x_stride, blocks, rows, width, 4, FOR_NIBBLES, begin, end);
  } else {
    quantize_rows(x, x_stride, blocks, rows, width, bits == 16 ? 16 : 8, IN_TURN, begin, end);
  }
}
