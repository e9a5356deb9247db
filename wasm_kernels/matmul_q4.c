/* float32 = 16-bit activations x 4-bit weights: in place for one row, in tiles for many. */
#include "featherweight_kernels.h"
#include "matmul_tile.h"

/* float16 come times 2^-112 (load_f16x4_masked). A part of that, the gain, goes out with the activations, the rest with
   the sums at the end: no multiplication for each scale. Activations from 2^70 on leave no room for a gain. */
INLINE float gain_of(const uint8_t *a, uint32_t blocks) {
  float top = 0.0f, scale;
  for (uint32_t b = 0; b < blocks; b++, a += ACTIVATION_BYTES) {
    __builtin_memcpy(&scale, a, 4);
    if (scale > top) top = scale;
  }
  return top < 0x1p55f ? 0x1p40f : 1.0f;
}

/* What the loops over blocks keep in registers. */
typedef struct {
  u16x8 low, high;
  i16x8 weight_low, weight_high;
  i32x4 f16;
  f32x4 gain;
} q4_constants;

INLINE q4_constants make_constants(float gain) {
  q4_constants c = {.low = (u16x8){0} + (HAS_DOT_I8X16 ? 0x0f0f : 0x000f),
                    .high = (u16x8){0} + 0x00f0,
                    .weight_low = (i16x8){0} + 1,
                    .weight_high = (i16x8){0} + 256,
                    .f16 = (i32x4){0} + F16_BITS,
                    .gain = splat_f32(gain)};
  KEEP(c.low);
  KEEP(c.high);
  KEEP(c.weight_low);
  KEEP(c.weight_high);
  KEEP(c.f16);
  KEEP(c.gain);
  return c;
}

#if HAS_DOT_I8X16
/* Sums of code * weight for one block of 1 or 2 groups of 8 columns. Both bytes of the codes are multiplied by nibbles in
   bytes; 8 products of 2 * 15 * 128 fit 16 bits. Written out, since engines load a splat without an addition for its
   address from the same few offsets only. */
INLINE void q4_dot(const uint8_t *const *blocks, uint32_t groups, const uint8_t *q, const q4_constants *c, i32x4 *dot) {
  const uint8_t *codes[2] = {blocks[0], blocks[1]};
  i16x8 high[4], low[4];
#pragma clang loop unroll(full)
  for (int j = 0; j < 4; j++) {
    IN_ORDER(q);
    for (uint32_t s = 0; s < groups; s++) IN_ORDER(codes[s]);
    const u16x8 first_high = (u16x8)load_splat_i32(q), second_high = (u16x8)load_splat_i32(q + 4);
    const u16x8 first_low = (u16x8)load_splat_i32(q + 8), second_low = (u16x8)load_splat_i32(q + 12);
#pragma clang loop unroll(full)
    for (uint32_t i = 0; i < 2 * groups; i++) {
      u16x8 lanes = load_u16x8(codes[i / 2] + 16 * (i % 2));
      IN_ORDER(lanes);
      const u16x8 first = lanes & c->low, second = (lanes >> 4) & c->low;
      high[i] = j ? high[i] + dot_i8x16(first_high, first) : dot_i8x16(first_high, first);
      low[i] = j ? low[i] + dot_i8x16(first_low, first) : dot_i8x16(first_low, first);
      IN_ORDER(high[i]);
      IN_ORDER(low[i]);
      high[i] += dot_i8x16(second_high, second);
      low[i] += dot_i8x16(second_low, second);
      IN_ORDER(high[i]);
      IN_ORDER(low[i]);
    }
    q += 16;
    for (uint32_t s = 0; s < groups; s++) codes[s] += 32;
  }
#pragma clang loop unroll(full)
  for (uint32_t i = 0; i < 2 * groups; i++) {
    dot[i] = dot_i16x8(high[i], c->weight_high) + dot_i16x8(low[i], c->weight_low);
  }
}
#else
/* The same sums. Nibbles are multiplied where they stand in 16-bit lanes, as far as 32 bits allow; a power of two is
   divided out of the sums at the end, which is exact. */
INLINE void q4_dot(const uint8_t *const *blocks, uint32_t groups, const uint8_t *a, const q4_constants *c, i32x4 *dot) {
  for (uint32_t s = 0; s < groups; s++) {
    const uint8_t *codes = blocks[s], *q = a, *const end = q + 64;
    i32x4 ones[2] = {0}, sixteens[2] = {0};
    do {
      OPAQUE(codes);
      OPAQUE(q);
      for (int half = 0; half < 2; half++) {
        const u16x8 lanes = load_u16x8(codes + 16 * half);
        ones[half] += dot_i16x8((i16x8)(lanes & c->low), (i16x8)load_splat_i32(q));
        sixteens[half] += dot_i16x8((i16x8)(lanes & c->high), (i16x8)load_splat_i32(q + 4));
        ones[half] += dot_i16x8((i16x8)((lanes >> 8) & c->low), (i16x8)load_splat_i32(q + 8));
        ones[half] += dot_i16x8((i16x8)(lanes >> 12), (i16x8)load_splat_i32(q + 12));
      }
      codes += 32;
      q += 16;
    } while (q != end);
    for (int half = 0; half < 2; half++) dot[2 * s + half] = ones[half] + (sixteens[half] >> 4);
  }
}
#endif

/* One row times the columns of `groups` (1 or 2) groups that lie `distance` bytes apart, before the rest of the gain:
   acc + scale * activation scale * (dot - zero * sum), or with the block's own offset in place of -zero * scale. */
INLINE void row_groups(const uint8_t *w, uint32_t affine, size_t distance, uint32_t groups, const uint8_t *a,
                       uint32_t blocks, const q4_constants *c, f32x4 *acc) {
  const size_t step = packed_block_bytes(4, affine), header = packed_header_bytes(4, affine);
  const uint8_t *block[2] = {w, w + distance};
  for (uint32_t b = 0; b < blocks; b++) {
    OPAQUE(a);
    for (uint32_t s = 0; s < groups; s++) OPAQUE(block[s]);
    const uint8_t *codes[2] = {block[0] + header, block[1] + header};
    i32x4 dot[4];
    q4_dot(codes, groups, a + 8, c, dot);
    const f32x4 row_scale = load_splat_f32(a) * c->gain, sum = load_splat_f32(a + 4) * c->gain;
    const f32x4 from_zero = sum * splat_f32(-Q4_ZERO);
#pragma clang loop unroll(full)
    for (uint32_t i = 0; i < 2 * groups; i++) {
      const uint8_t *at = block[i / 2] + 8 * (i % 2);
      const f32x4 scale = load_f16x4_masked(at, c->f16);
      if (affine == FW_OFFSETS) {
        acc[i] = madd(load_f16x4_masked(at + 16, c->f16), sum, acc[i]);
        acc[i] = madd(scale, to_f32x4(dot[i]) * row_scale, acc[i]);
      } else {
        const f32x4 zero = affine ? load_f16x4(at + 16) * sum : from_zero;
        acc[i] = madd(scale, madd(to_f32x4(dot[i]), row_scale, zero), acc[i]);
      }
      IN_ORDER(acc[i]);
    }
    for (uint32_t s = 0; s < groups; s++) block[s] += step;
    a += ACTIVATION_BYTES;
  }
}

INLINE void gemv(const uint8_t *w, uint32_t bits, uint32_t affine, const uint8_t *a, uint32_t blocks, uint32_t begin,
                 uint32_t end, uint32_t columns, const float *bias, float *y) {
  const size_t group = blocks * packed_block_bytes(bits, affine);
  const uint32_t half = HAS_DOT_I8X16 ? (end - begin) / 2 : 0; /* the other way needs more registers */
  const float gain = gain_of(a, blocks);
  const f32x4 rest = splat_f32(0x1p112f / gain);
  const q4_constants constants = make_constants(gain);
  for (uint32_t g = begin; g < begin + half; g++) {
    f32x4 acc[4] = {0};
    row_groups(w + g * group, affine, half * group, 2, a, blocks, &constants, acc);
    for (int i = 0; i < 4; i++) acc[i] *= rest;
    store_group(y, 8 * g, columns, bias, acc[0], acc[1]);
    store_group(y, 8 * (g + half), columns, bias, acc[2], acc[3]);
  }
  for (uint32_t g = begin + 2 * half; g < end; g++) {
    f32x4 acc[2] = {0};
    row_groups(w + g * group, affine, 0, 1, a, blocks, &constants, acc);
    for (int i = 0; i < 2; i++) acc[i] *= rest;
    store_group(y, 8 * g, columns, bias, acc[0], acc[1]);
  }
}

MATMUL(symmetric, 4, FW_SYMMETRIC)
MATMUL(zero_points, 4, FW_ZERO_POINTS)
MATMUL(offsets, 4, FW_OFFSETS)

EXPORT void fw_matmul_q4(const uint8_t *w, uint32_t affine, const uint8_t *a, uint32_t rows, uint32_t blocks,
                         uint32_t begin, uint32_t end, uint32_t columns, const float *bias, float *y,
                         uint32_t y_stride) {
  if (affine == FW_OFFSETS) {
    matmul_offsets(w, a, rows, blocks, begin, end, columns, bias, y, y_stride);
  } else if (affine == FW_ZERO_POINTS) {
    matmul_zero_points(w, a, rows, blocks, begin, end, columns, bias, y, y_stride);
  } else {
    matmul_symmetric(w, a, rows, blocks, begin, end, columns, bias, y, y_stride);
  }
}
