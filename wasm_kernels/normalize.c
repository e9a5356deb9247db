/* RMSNorm and LayerNorm over the last axis, alone or after a residual addition that they also write out. */
#include "featherweight_kernels.h"
#include "float_math.h"

/* sum = x + skip + skip_bias (the last two optional), written to `total`. */
INLINE void add_row(const float *x, const float *skip, const float *skip_bias, float *total, uint32_t width) {
  const uint32_t whole = width & ~3u;
  for (uint32_t k = 0; k < whole; k += 4) {
    f32x4 v = load_f32x4(x + k);
    if (skip) v += load_f32x4(skip + k);
    if (skip_bias) v += load_f32x4(skip_bias + k);
    store_f32x4(total + k, v);
  }
  for (uint32_t k = whole; k < width; k++) total[k] = x[k] + (skip ? skip[k] : 0) + (skip_bias ? skip_bias[k] : 0);
}

/* Two running sums each: one addition would wait for the one before it. */
static float sum_row(const float *x, uint32_t width) {
  f32x4 even = splat_f32(0.0f), odd = even;
  uint32_t k = 0;
  for (; k + 8 <= width; k += 8) even += load_f32x4(x + k), odd += load_f32x4(x + k + 4);
  float sum = sum_f32x4(even + odd);
  for (; k < width; k++) sum += x[k];
  return sum;
}

static float sum_squares(const float *x, float mean, uint32_t width) {
  f32x4 even = splat_f32(0.0f), odd = even;
  uint32_t k = 0;
  for (; k + 8 <= width; k += 8) {
    const f32x4 a = load_f32x4(x + k) - splat_f32(mean), b = load_f32x4(x + k + 4) - splat_f32(mean);
    even = madd(a, a, even);
    odd = madd(b, b, odd);
  }
  float sum = sum_f32x4(even + odd);
  for (; k < width; k++) sum += (x[k] - mean) * (x[k] - mean);
  return sum;
}

INLINE void scale_row(const float *x, float mean, float factor, const float *weight, const float *bias, float *y,
                      uint32_t width) {
  const uint32_t whole = width & ~3u;
  for (uint32_t k = 0; k < whole; k += 4) {
    const f32x4 v = (load_f32x4(x + k) - splat_f32(mean)) * splat_f32(factor) * load_f32x4(weight + k);
    store_f32x4(y + k, bias ? v + load_f32x4(bias + k) : v);
  }
  for (uint32_t k = whole; k < width; k++) {
    const float v = (x[k] - mean) * factor * weight[k];
    y[k] = bias ? v + bias[k] : v;
  }
}

static void normalize_row(const float *x, const float *weight, const float *bias, float *y, uint32_t width,
                          float epsilon, uint32_t centered) {
  const float mean = centered ? sum_row(x, width) / (float)width : 0;
  const float factor = 1.0f / sqrt_f32(sum_squares(x, mean, width) / (float)width + epsilon);
  if (bias) {
    scale_row(x, mean, factor, weight, bias, y, width);
  } else {
    scale_row(x, mean, factor, weight, 0, y, width);
  }
}

EXPORT void fw_normalize(const float *x, uint32_t x_stride, const float *skip, uint32_t skip_stride,
                         const float *skip_bias, const float *weight, const float *bias, float *y, float *total,
                         uint32_t rows, uint32_t width, float epsilon, uint32_t centered) {
  for (uint32_t r = 0; r < rows; r++, y += width) {
    const float *row = x + (size_t)r * x_stride;
    if (skip || skip_bias) {
      /* without a `total` to keep, y itself holds the sum until it is normalized in place */
      float *sum = total ? total + (size_t)r * width : y;
      add_row(row, skip ? skip + (size_t)r * skip_stride : 0, skip_bias, sum, width);
      row = sum;
    }
    normalize_row(row, weight, bias, y, width, epsilon, centered);
  }
}
