/* float32 = float32 x float32, weights packed as [groups of 8 columns][inner][8]. */
#include "featherweight_kernels.h"
#include "matmul_nbits.h"

INLINE void f32_rows(const float *w, const float *x, uint32_t x_stride, uint32_t rows, uint32_t inner, uint32_t n,
                     uint32_t columns, const float *bias, float *y, uint32_t y_stride) {
  f32x4 acc[8];
  for (uint32_t i = 0; i < 2 * rows; i++) acc[i] = splat_f32(0.0f);
  for (uint32_t k = 0; k < inner; k++, w += 8) {
    f32x4 left = load_f32x4(w), right = load_f32x4(w + 4);
    for (uint32_t r = 0; r < rows; r++) {
      f32x4 v = load_splat_f32(x + (size_t)r * x_stride + k);
      acc[2 * r] = madd(left, v, acc[2 * r]);
      acc[2 * r + 1] = madd(right, v, acc[2 * r + 1]);
    }
  }
  for (uint32_t r = 0; r < rows; r++) {
    store_group(y + (size_t)r * y_stride, n, columns, bias, acc[2 * r], acc[2 * r + 1]);
  }
}

EXPORT void fw_matmul_f32(const float *w, const float *x, uint32_t x_stride, uint32_t rows, uint32_t inner,
                          uint32_t begin, uint32_t end, uint32_t columns, const float *bias, float *y,
                          uint32_t y_stride) {
  for (uint32_t tile = 0; tile < rows; tile += ROW_TILE) {
    uint32_t last = rows - tile < ROW_TILE ? rows : tile + ROW_TILE;
    for (uint32_t g = begin; g < end; g++) {
      const float *group = w + (size_t)g * inner * 8;
      uint32_t r = tile;
      for (; r + 4 <= last; r += 4) {
        f32_rows(group, x + (size_t)r * x_stride, x_stride, 4, inner, 8 * g, columns, bias, y + (size_t)r * y_stride,
                 y_stride);
      }
      for (; r < last; r++) {
        f32_rows(group, x + (size_t)r * x_stride, x_stride, 1, inner, 8 * g, columns, bias, y + (size_t)r * y_stride,
                 y_stride);
      }
    }
  }
}
