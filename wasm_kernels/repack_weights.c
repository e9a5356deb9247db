/* Weights from the layouts of ONNX into the ones that the matmuls read, any run of rows at a time. */
#include "code_rows.h"
#include "featherweight_kernels.h"
#include "float_math.h"
#include "matmul_nbits.h"

EXPORT uint32_t fw_packed_block_bytes(uint32_t bits, uint32_t affine) { return (uint32_t)packed_block_bytes(bits, affine); }

/* Four codes of 4 bits, one per byte. */
static uint32_t spread_q4(const uint8_t *codes) {
  uint32_t x = codes[0] | (uint32_t)codes[1] << 16;
  return (x | x << 4) & 0x0f0f0f0fu;
}

static void place_q4(const uint8_t *codes, uint8_t *packed, uint32_t c) {
  for (uint32_t j = 0; j < 4; j++) {
    const uint32_t word = spread_q4(codes + 2 * j) | spread_q4(codes + 8 + 2 * j) << 4;
    __builtin_memcpy(packed + 32 * j + 4 * c, &word, 4);
  }
}

static void place_q8(const uint8_t *codes, uint8_t *packed, uint32_t c) {
  for (uint32_t p = 0; p < 16; p++) {
    uint16_t pair;
    __builtin_memcpy(&pair, codes + 2 * p, 2);
    pair ^= 0x8080;
    __builtin_memcpy(packed + 16 * p + 2 * c, &pair, 2);
  }
}

EXPORT void fw_repack_codes(const uint8_t *codes, uint32_t source_blocks, uint32_t rows, uint32_t first_row,
                            uint8_t *packed, uint32_t blocks, uint32_t bits, uint32_t affine) {
  const size_t step = packed_block_bytes(bits, affine), header = packed_header_bytes(bits, affine), bytes = 4 * bits;
  for (uint32_t r = 0; r < rows; r++, codes += source_blocks * bytes) {
    const uint32_t n = first_row + r;
    uint8_t *block = packed + (size_t)(n / 8) * blocks * step + header;
    for (uint32_t b = 0; b < blocks; b++, block += step) {
      if (bits == 4) {
        place_q4(codes + b * bytes, block, n & 7);
      } else {
        place_q8(codes + b * bytes, block, n & 7);
      }
    }
  }
}

EXPORT uint32_t fw_repack_scales(const uint16_t *scales, uint32_t source_blocks, uint32_t repeat, uint32_t rows,
                                 uint32_t first_row, uint8_t *packed, uint32_t blocks, uint32_t bits, uint32_t affine,
                                 uint32_t is_offset) {
  const size_t step = packed_block_bytes(bits, affine);
  for (uint32_t r = 0; r < rows; r++, scales += source_blocks) {
    const uint32_t n = first_row + r;
    uint8_t *block = packed + (size_t)(n / 8) * blocks * step + (is_offset ? 16 : 0) + 2 * (n & 7);
    for (uint32_t b = 0; b < blocks; b++, block += step) {
      uint16_t half = scales[b / repeat];
      if ((half & 0x7c00) == 0x7c00) return 0; /* infinite or not a number */
      __builtin_memcpy(block, &half, 2);
    }
  }
  return 1;
}

EXPORT void fw_repack_zero_points(const uint8_t *points, uint32_t source_blocks, uint32_t repeat, uint32_t rows,
                                  uint32_t first_row, uint8_t *packed, uint32_t blocks, uint32_t bits) {
  const size_t step = packed_block_bytes(bits, FW_ZERO_POINTS);
  const uint32_t bytes = bits == 4 ? (source_blocks + 1) / 2 : source_blocks;
  for (uint32_t r = 0; r < rows; r++, points += bytes) {
    const uint32_t n = first_row + r;
    uint8_t *block = packed + (size_t)(n / 8) * blocks * step + 16 + 2 * (n & 7);
    for (uint32_t b = 0; b < blocks; b++, block += step) {
      const uint32_t at = b / repeat, point = bits == 4 ? (points[at / 2] >> (4 * (at & 1))) & 15 : points[at];
      const int32_t code_zero = bits == 4 ? 0 : 128; /* 8-bit codes are stored signed */
      const uint16_t half = f32_to_f16((float)(code_zero - (int32_t)point));
      __builtin_memcpy(block, &half, 2);
    }
  }
}

/* One column of a 16-bit block: rows first...last take `values`, the others keep what they hold. */
static uint32_t place_q16(const float *values, size_t stride, uint32_t first, uint32_t last, uint8_t *block, uint32_t c) {
  float column[32], *scale = (float *)block + c;
  int16_t *codes = (int16_t *)(block + packed_header_bytes(16, 0)) + 2 * c, rounded[32];
  /* Three loops: one that chooses takes up to four times as long. */
  for (uint32_t k = 0; k < first; k++) column[k] = *scale * (float)codes[16 * (k / 2) + (k & 1)];
  for (uint32_t k = first; k < last; k++) column[k] = values[(k - first) * stride];
  for (uint32_t k = last; k < 32; k++) column[k] = *scale * (float)codes[16 * (k / 2) + (k & 1)];
  const float step = encode_row(column, 32, LARGEST_CODE, 1, rounded);
  if (step != step) return 0;
  *scale = step;
  for (uint32_t p = 0; p < 16; p++) __builtin_memcpy(codes + 16 * p, rounded + 2 * p, 4);
  return 1;
}

EXPORT uint32_t fw_repack_floats(const float *source, uint32_t row_stride, uint32_t column_stride, uint32_t rows,
                                 uint32_t first_row, uint32_t columns, uint32_t first_inner, uint8_t *packed,
                                 uint32_t blocks) {
  const size_t step = packed_block_bytes(16, 0);
  for (uint32_t k = 0, last; k < columns; k += last) {
    const uint32_t b = (first_inner + k) / 32, first = (first_inner + k) % 32;
    last = columns - k < 32 - first ? columns - k : 32 - first;
    for (uint32_t r = 0; r < rows; r++) {
      const uint32_t n = first_row + r;
      uint8_t *block = packed + ((size_t)(n / 8) * blocks + b) * step;
      const float *values = source + (size_t)r * row_stride + (size_t)k * column_stride;
      if (!place_q16(values, column_stride, first, first + last, block, n & 7)) return 0;
    }
  }
  return 1;
}

EXPORT void fw_widen_f16(const uint16_t *source, float *target, uint32_t count) {
  for (uint32_t i = 0; i < count; i++) target[i] = f16_to_f32(source[i]);
}
