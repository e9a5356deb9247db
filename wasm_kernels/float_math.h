/* Owns elementary functions on vectors: exp, the normal distribution, sigmoid, tanh, square root, and rounding of one number. */
#pragma once
#include "simd.h"

/* Constants of a formula lie in memory, out of the compiler's sight: engines make a constant vector anew, in several
   instructions, wherever it is used, and load a repeated number in one. */

/* exp(x), relative error below 2e-7; 0 below -87, where float32 would be subnormal. A minimax polynomial over half an
   octave to either side. */
static const float EXP[] = {-87.0f,          88.0f,           12582912.0f /* 1.5 * 2^23: adding it rounds to an integer */,
                            1.4426950409f,   -0.693359375f,   2.12194440e-4f,  1.38145406e-3f, 8.36874545e-3f,
                            4.16683890e-2f,  1.66665211e-1f,  4.99999940e-1f,  1.0f};

INLINE f32x4 exp_f32x4(f32x4 x) {
  const float *t = EXP;
  OPAQUE(t);
  const f32x4 low = load_splat_f32(t), magic = load_splat_f32(t + 2), one = load_splat_f32(t + 11);
  const f32x4 y = min_f32x4(load_splat_f32(t + 1), max_f32x4(low, x));
  const f32x4 shifted = madd(y, load_splat_f32(t + 3), magic), n = shifted - magic;
  const f32x4 r = madd(n, load_splat_f32(t + 5), madd(n, load_splat_f32(t + 4), y));
  f32x4 p = load_splat_f32(t + 6);
  for (int i = 7; i < 11; i++) p = madd(p, r, load_splat_f32(t + i));
  p = madd(p, r * r, r + one);
  const i32x4 exponent = ((i32x4)shifted << 23) + (i32x4)one; /* n stands in the low bits */
  return (f32x4)((i32x4)(p * (f32x4)exponent) & ~(x < low));
}

INLINE f32x4 sigmoid_f32x4(f32x4 x) {
  f32x4 one = splat_f32(1.0f);
  return one / (one + exp_f32x4(-x));
}

/* tanh(x), absolute error below 3e-7. */
INLINE f32x4 tanh_f32x4(f32x4 x) {
  return splat_f32(2.0f) * sigmoid_f32x4(x + x) - splat_f32(1.0f);
}

/* How far the normal distribution has come from its middle to x, which is erf(x / sqrt(2)) / 2: odd, absolute error
   below 3.1e-7, and exactly 1/2 from 5.3 on. A minimax quotient of two polynomials in x^2, whose coefficients take
   turns. */
static const float NORMAL[] = {-5.3f,           5.3f,           -0.5f,          0.5f,           2.40690987e-8f,
                               1.23777204e-6f,  6.38066740e-6f, 7.13546906e-5f, 1.60319600e-4f, 1.83651648e-3f,
                               4.62799659e-3f,  2.81376913e-2f, 3.29330564e-2f, 2.49217153e-1f, 3.98942262e-1f,
                               1.0f};

INLINE f32x4 normal_from_middle_f32x4(f32x4 x) {
  const float *t = NORMAL;
  OPAQUE(t);
  const f32x4 z = min_f32x4(load_splat_f32(t + 1), max_f32x4(load_splat_f32(t), x)), s = z * z;
  f32x4 p = load_splat_f32(t + 4), q = load_splat_f32(t + 5);
  for (int i = 6; i < 16; i += 2) p = madd(p, s, load_splat_f32(t + i)), q = madd(q, s, load_splat_f32(t + i + 1));
  return min_f32x4(load_splat_f32(t + 3), max_f32x4(load_splat_f32(t + 2), z * p / q));
}

INLINE float exp_f32(float x) { return exp_f32x4(splat_f32(x))[0]; }

INLINE float sqrt_f32(float x) { return __builtin_sqrtf(x); }

INLINE f32x4 sqrt_f32x4(f32x4 x) { return __builtin_elementwise_sqrt(x); }

/* Nearest integers, ties to even, for |x| < 2^22. */
INLINE i32x4 round_f32x4(f32x4 x) {
  const f32x4 magic = splat_f32(12582912.0f);
  return (i32x4)(x + magic) - (i32x4)magic;
}

/* Nearest float16, ties to even, as 16 bits of each lane; magnitudes that it cannot hold become its largest one. */
INLINE u32x4 f32_to_f16x4(f32x4 x) {
  x = min_f32x4(splat_f32(65504.0f), max_f32x4(splat_f32(-65504.0f), x));
  const f32x4 magnitude = abs_f32x4(x);
  const u32x4 bits = (u32x4)magnitude, sign = ((u32x4)x >> 16) & 0x8000;
  /* Of what is subnormal, adding 0.5 leaves the 10 bits at the end of the mantissa. */
  const u32x4 small = (u32x4)(magnitude + splat_f32(0.5f)) - 0x3f000000;
  const u32x4 normal = (bits + 0xfff + ((bits >> 13) & 1) - 0x38000000) >> 13;
  const u32x4 is_small = (u32x4)(magnitude < splat_f32(0x1p-14f));
  return sign | (small & is_small) | (normal & ~is_small);
}

INLINE uint16_t f32_to_f16(float x) { return (uint16_t)f32_to_f16x4(splat_f32(x))[0]; }

INLINE float f16_to_f32(uint16_t half) {
  uint32_t bits = ((uint32_t)(half & 0x8000) << 16) | ((uint32_t)(half & 0x7fff) << 13);
  float x;
  __builtin_memcpy(&x, &bits, 4);
  return x * 0x1p112f;
}
