/* RMSNorm and LayerNorm over the last axis, alone or after a residual addition that they also write out. */
#include "featherweight_kernels.h"
#include "float_math.h"

/* sum = x + skip + skip_bias (the last two optional), written to `total`. */
static void add_row(const float *x, const float *skip, const float *skip_bias, float *total, uint32_t width) {
  for (uint32_t k = 0; k < width; k++) {
    float v = x[k];
    if (skip) v += skip[k];
    if (skip_bias) v += skip_bias[k];
    total[k] = v;
  }
}

static void normalize_row(const float *x, const float *weight, const float *bias, float *y, uint32_t width,
                          float epsilon, uint32_t centered) {
  uint32_t whole = width & ~3u;
  f32x4 sums = splat_f32(0.0f), squares = sums;
  float sum = 0, square = 0;
  if (centered) {
    for (uint32_t k = 0; k < whole; k += 4) sums += load_f32x4(x + k);
    for (uint32_t k = whole; k < width; k++) sum += x[k];
    sum += sum_f32x4(sums);
  }
  const float mean = sum / (float)width;
  for (uint32_t k = 0; k < whole; k += 4) {
    f32x4 d = load_f32x4(x + k) - splat_f32(mean);
    squares = madd(d, d, squares);
  }
  for (uint32_t k = whole; k < width; k++) square += (x[k] - mean) * (x[k] - mean);
  const float factor = 1.0f / sqrt_f32((square + sum_f32x4(squares)) / (float)width + epsilon);
  for (uint32_t k = 0; k < width; k++) {
    float v = (x[k] - mean) * factor * weight[k];
    y[k] = bias ? v + bias[k] : v;
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
