/* Activation functions, sums and products, row by row. */
#include "featherweight_kernels.h"
#include "float_math.h"

INLINE f32x4 gelu(f32x4 x) { return x * (normal_from_middle_f32x4(x) + splat_f32(0.5f)); }

/* 0.5 x (1 + tanh(u)) is x * sigmoid(2 u), with u = sqrt(2 / pi) (x + 0.044715 x^3). */
INLINE f32x4 gelu_tanh(f32x4 x) {
  const f32x4 u = splat_f32(0.79788456080286536f) * madd(splat_f32(0.044715f) * x * x, x, x);
  return x * sigmoid_f32x4(u + u);
}

INLINE f32x4 apply(uint32_t function, f32x4 factor, f32x4 a, f32x4 b) {
  switch (function) {
    case FW_ADD: return a + b;
    case FW_SUB: return a - b;
    case FW_MUL: return a * b;
    case FW_SCALE: return factor * a;
    case FW_RELU: return max_f32x4(a, splat_f32(0.0f));
    case FW_QUICK_GELU: return a * sigmoid_f32x4(factor * a);
    case FW_GELU: return gelu(a);
    case FW_GELU_TANH: return gelu_tanh(a);
    case FW_SOFT_CAP: return factor * tanh_f32x4(a / factor);
    case FW_CLIP: return -max_f32x4(-max_f32x4(a, -factor), -factor);
    case FW_QUICK_GELU + FW_GATED: return a * sigmoid_f32x4(factor * a) * b;
    case FW_GELU + FW_GATED: return gelu(a) * b;
    case FW_GELU_TANH + FW_GATED: return gelu_tanh(a) * b;
    case FW_RELU + FW_GATED: return max_f32x4(a, splat_f32(0.0f)) * b;
    default: return a;
  }
}

INLINE void map_rows(uint32_t function, uint32_t binary, float factor, const float *a, uint32_t a_stride,
                     const float *b, uint32_t b_stride, float *y, uint32_t rows, uint32_t width) {
  const f32x4 factors = splat_f32(factor);
  for (uint32_t r = 0; r < rows; r++, a += a_stride, b += b_stride, y += width) {
    uint32_t k = 0;
    for (; k + 4 <= width; k += 4) {
      f32x4 left = load_f32x4(a + k);
      store_f32x4(y + k, apply(function, factors, left, binary ? load_f32x4(b + k) : left));
    }
    for (; k < width; k++) y[k] = apply(function, factors, splat_f32(a[k]), splat_f32(binary ? b[k] : 0.0f))[0];
  }
}

EXPORT void fw_elementwise(uint32_t function, float factor, const float *a, uint32_t a_stride, const float *b,
                           uint32_t b_stride, float *y, uint32_t rows, uint32_t width) {
#define UNARY(f) \
  case f: map_rows(f, 0, factor, a, a_stride, a, 0, y, rows, width); break
#define BINARY(f) \
  case f: map_rows(f, 1, factor, a, a_stride, b, b_stride, y, rows, width); break
  switch (function) {
    BINARY(FW_ADD);
    BINARY(FW_SUB);
    BINARY(FW_MUL);
    UNARY(FW_SCALE);
    UNARY(FW_RELU);
    UNARY(FW_QUICK_GELU);
    UNARY(FW_GELU);
    UNARY(FW_GELU_TANH);
    UNARY(FW_SOFT_CAP);
    UNARY(FW_CLIP);
    BINARY(FW_QUICK_GELU + FW_GATED);
    BINARY(FW_GELU + FW_GATED);
    BINARY(FW_GELU_TANH + FW_GATED);
    BINARY(FW_RELU + FW_GATED);
    default: map_rows(FW_COPY, 0, factor, a, a_stride, a, 0, y, rows, width); break;
  }
#undef BINARY
#undef UNARY
}
