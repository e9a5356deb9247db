/* Activation functions and sums, row by row. */
#include "featherweight_kernels.h"
#include "float_math.h"

INLINE f32x4 gelu(f32x4 x) {
  return splat_f32(0.5f) * x * (splat_f32(1.0f) + erf_f32x4(x * splat_f32(0.70710678118654752f)));
}

INLINE f32x4 apply(uint32_t function, f32x4 a, f32x4 b) {
  switch (function) {
    case FW_ADD: return a + b;
    case FW_MUL: return a * b;
    case FW_SILU: return a * sigmoid_f32x4(a);
    case FW_SILU_MUL: return a * sigmoid_f32x4(a) * b;
    case FW_GELU: return gelu(a);
    case FW_RELU: return max_f32x4(a, splat_f32(0.0f));
    default: return a;
  }
}

INLINE void map_rows(uint32_t function, uint32_t binary, const float *a, uint32_t a_stride, const float *b,
                     uint32_t b_stride, float *y, uint32_t rows, uint32_t width) {
  for (uint32_t r = 0; r < rows; r++, a += a_stride, b += b_stride, y += width) {
    uint32_t k = 0;
    for (; k + 4 <= width; k += 4) {
      f32x4 left = load_f32x4(a + k);
      store_f32x4(y + k, apply(function, left, binary ? load_f32x4(b + k) : left));
    }
    for (; k < width; k++) y[k] = apply(function, splat_f32(a[k]), splat_f32(binary ? b[k] : 0.0f))[0];
  }
}

EXPORT void fw_elementwise(uint32_t function, const float *a, uint32_t a_stride, const float *b, uint32_t b_stride,
                           float *y, uint32_t rows, uint32_t width) {
  switch (function) {
    case FW_ADD: map_rows(FW_ADD, 1, a, a_stride, b, b_stride, y, rows, width); break;
    case FW_MUL: map_rows(FW_MUL, 1, a, a_stride, b, b_stride, y, rows, width); break;
    case FW_SILU: map_rows(FW_SILU, 0, a, a_stride, a, 0, y, rows, width); break;
    case FW_SILU_MUL: map_rows(FW_SILU_MUL, 1, a, a_stride, b, b_stride, y, rows, width); break;
    case FW_GELU: map_rows(FW_GELU, 0, a, a_stride, a, 0, y, rows, width); break;
    case FW_RELU: map_rows(FW_RELU, 0, a, a_stride, a, 0, y, rows, width); break;
    default: map_rows(FW_COPY, 0, a, a_stride, a, 0, y, rows, width); break;
  }
}
