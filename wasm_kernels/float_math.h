/* Owns elementary functions on vectors: exp, erf, sigmoid, tanh, square root, and rounding of one number. */
#pragma once
#include "simd.h"

/* exp(x), relative error below 2e-7; 0 below -87, where float32 would be subnormal. Cephes' polynomial. */
INLINE f32x4 exp_f32x4(f32x4 x) {
  i32x4 low = x < splat_f32(-87.0f), high = x > splat_f32(88.0f);
  f32x4 y = (f32x4)((high & (i32x4)splat_f32(88.0f)) | (~high & (i32x4)x));
  y = (f32x4)((low & (i32x4)splat_f32(-87.0f)) | (~low & (i32x4)y));
  f32x4 magic = splat_f32(12582912.0f); /* 1.5 * 2^23: adding it rounds to the nearest integer */
  f32x4 n = (y * splat_f32(1.44269504088896341f) + magic) - magic;
  f32x4 r = y - n * splat_f32(0.693359375f) - n * splat_f32(-2.12194440e-4f);
  f32x4 p = splat_f32(1.9875691500e-4f);
  p = madd(p, r, splat_f32(1.3981999507e-3f));
  p = madd(p, r, splat_f32(8.3334519073e-3f));
  p = madd(p, r, splat_f32(4.1665795894e-2f));
  p = madd(p, r, splat_f32(1.6666665459e-1f));
  p = madd(p, r, splat_f32(5.0000001201e-1f));
  p = madd(p, r * r, r + splat_f32(1.0f));
  i32x4 exponent = (__builtin_convertvector(n, i32x4) + 127) << 23;
  return (f32x4)((i32x4)(p * (f32x4)exponent) & ~low);
}

INLINE f32x4 sigmoid_f32x4(f32x4 x) {
  f32x4 one = splat_f32(1.0f);
  return one / (one + exp_f32x4(-x));
}

/* tanh(x), absolute error below 3e-7. */
INLINE f32x4 tanh_f32x4(f32x4 x) {
  return splat_f32(2.0f) * sigmoid_f32x4(x + x) - splat_f32(1.0f);
}

/* erf(x), absolute error below 2e-7 (Abramowitz and Stegun 7.1.26). */
INLINE f32x4 erf_f32x4(f32x4 x) {
  f32x4 one = splat_f32(1.0f), a = abs_f32x4(x);
  f32x4 t = one / madd(splat_f32(0.3275911f), a, one);
  f32x4 p = splat_f32(1.061405429f);
  p = madd(p, t, splat_f32(-1.453152027f));
  p = madd(p, t, splat_f32(1.421413741f));
  p = madd(p, t, splat_f32(-0.284496736f));
  p = madd(p, t, splat_f32(0.254829592f));
  f32x4 r = one - p * t * exp_f32x4(-(a * a));
  i32x4 sign = (i32x4)x & (i32x4){INT32_MIN, INT32_MIN, INT32_MIN, INT32_MIN};
  return (f32x4)((i32x4)r | sign);
}

INLINE float exp_f32(float x) { return exp_f32x4(splat_f32(x))[0]; }

INLINE float sqrt_f32(float x) { return __builtin_sqrtf(x); }

/* Nearest integer, ties to even, for |x| < 2^22. */
INLINE int32_t round_to_i32(float x) { return (int32_t)((x + 12582912.0f) - 12582912.0f); }

/* Nearest float16, ties to even; magnitudes that it cannot hold become its largest one. */
INLINE uint16_t f32_to_f16(float x) {
  uint32_t bits;
  x = x > 65504.0f ? 65504.0f : x < -65504.0f ? -65504.0f : x;
  __builtin_memcpy(&bits, &x, 4);
  uint32_t sign = (bits >> 16) & 0x8000;
  float magnitude = x < 0 ? -x : x;
  if (magnitude < 0x1p-14f) { /* subnormal: adding 0.5 leaves the 10 bits at the end of the mantissa */
    float shifted = magnitude + 0.5f;
    __builtin_memcpy(&bits, &shifted, 4);
    return (uint16_t)(sign | (bits - 0x3f000000));
  }
  bits &= 0x7fffffff;
  bits += 0xfff + ((bits >> 13) & 1);
  return (uint16_t)(sign | ((bits - 0x38000000) >> 13));
}

INLINE float f16_to_f32(uint16_t half) {
  uint32_t bits = ((uint32_t)(half & 0x8000) << 16) | ((uint32_t)(half & 0x7fff) << 13);
  float x;
  __builtin_memcpy(&x, &bits, 4);
  return x * 0x1p112f;
}
