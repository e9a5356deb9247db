/* Owns the rounding of floats to 16-bit codes whose products dot_i16x8 sums up. */
#pragma once
#include "float_math.h"

/* Where both factors have 16 bits, codes are vectors no longer than this: no sum of their products exceeds the product
   of the lengths (Cauchy and Schwarz), which is below 2^31 even when rounding has made each longer by 8. */
#define CODES_LENGTH 46330.0f
#define LARGEST_CODE 32767.0f

/* What one step of 16-bit codes stands for, when `top` is the largest magnitude and `squares` the sum of
   (value / top)^2. */
INLINE float wide_code_scale(float top, float squares) {
  const float length = sqrt_f32(squares) / CODES_LENGTH;
  return top * (length > 1 / LARGEST_CODE ? length : 1 / LARGEST_CODE);
}

/* Largest magnitude of `width` (a multiple of 4) elements; NaN joins `poison` where one is not finite. */
INLINE float largest_magnitude(const float *x, uint32_t width, f32x4 *poison) {
  f32x4 top = splat_f32(0.0f);
  for (uint32_t i = 0; i < width; i += 4) {
    const f32x4 v = load_f32x4(x + i);
    *poison += v * splat_f32(0.0f);
    top = max_f32x4(abs_f32x4(v), top);
  }
  return max_of_f32x4(top);
}

/* wide_code_scale of `width` elements. */
INLINE float wide_scale_of(const float *x, uint32_t width, float largest) {
  const f32x4 unit = splat_f32(1.0f / largest);
  f32x4 squares = splat_f32(0.0f);
  for (uint32_t i = 0; i < width; i += 4) {
    const f32x4 v = load_f32x4(x + i) * unit;
    squares = madd(v, v, squares);
  }
  return wide_code_scale(largest, sum_f32x4(squares));
}

/* What one step of `width` (a multiple of 8) elements stands for, as codes of bounded length: 0 when no element is as large
   as 1e-30, NaN when one is not finite. */
INLINE float bounded_scale(const float *x, uint32_t width) {
  f32x4 top[2] = {0}, squares[2] = {0};
  for (uint32_t i = 0; i < width; i += 8) {
    for (uint32_t h = 0; h < 2; h++) {
      const f32x4 v = load_f32x4(x + i + 4 * h);
      top[h] = max_f32x4(abs_f32x4(v), top[h]);
      squares[h] = madd(v, v, squares[h]);
    }
  }
  const float sum = sum_f32x4(squares[0] + squares[1]);
  float largest = max_of_f32x4(max_f32x4(top[0], top[1]));
  if (sum > 1e-20f && sum < 1e30f) return wide_code_scale(largest, sum / (largest * largest));
  f32x4 poison = splat_f32(0.0f);
  largest = largest_magnitude(x, width, &poison);
  const float scale = largest < 1e-30f ? 0.0f : wide_scale_of(x, width, largest); /* 1 / scale would overflow */
  return scale + sum_f32x4(poison);
}

/* What elements are multiplied with to be codes: 0 where the scale is 0 or not a number. */
INLINE f32x4 inverse_of(float scale) { return splat_f32(scale > 0.0f ? 1.0f / scale : 0.0f); }

/* Eight codes of x * inverse. */
INLINE void round_codes(const float *x, f32x4 inverse, int16_t *codes) {
  const i32x4 left = round_f32x4(load_f32x4(x) * inverse), right = round_f32x4(load_f32x4(x + 4) * inverse);
  const i16x8 both = narrow_i32x4(left, right);
  __builtin_memcpy(codes, &both, 16);
}

/* What one step of codes -levels...levels stands for, as bounded_scale does. */
INLINE float level_scale(const float *x, uint32_t width, float levels) {
  f32x4 poison = splat_f32(0.0f);
  const float largest = largest_magnitude(x, width, &poison);
  return (largest < 1e-30f ? 0.0f : largest / levels) + sum_f32x4(poison);
}

/* Codes of `width` (a multiple of 8) elements, -levels...levels or of bounded length, and what one step of them stands
   for. */
INLINE float encode_row(const float *x, uint32_t width, float levels, uint32_t bounded, int16_t *codes) {
  const float scale = bounded ? bounded_scale(x, width) : level_scale(x, width, levels);
  const f32x4 inverse = inverse_of(scale);
  for (uint32_t i = 0; i < width; i += 8) round_codes(x + i, inverse, codes + i);
  return scale;
}
