/* Activations to blocks of 32 integers, in the order in which the matmul of the given weight width reads them. */
#include "featherweight_kernels.h"
#include "float_math.h"
#include "matmul_nbits.h"

/* Codes of one block, rounded to nearest (ties to even); returns their sum. */
INLINE int32_t quantize_codes(const float *x, float inverse, int32_t *codes) {
  f32x4 scale = splat_f32(inverse), magic = splat_f32(12582912.0f);
  i32x4 sum = {0, 0, 0, 0};
  for (int i = 0; i < 32; i += 4) {
    f32x4 v = load_f32x4(x + i) * scale;
    v = (f32x4)((i32x4)v & (v == v)); /* NaN becomes 0 here and makes the scale NaN below */
    i32x4 q = __builtin_convertvector((v + magic) - magic, i32x4);
    __builtin_memcpy(codes + i, &q, 16);
    sum += q;
  }
  return (sum[0] + sum[1]) + (sum[2] + sum[3]);
}

/* Codes in the order of the weights: as they come for 8 bits; for 4 bits as matmul_q4 finds nibbles in 16-bit lanes. */
static void store_codes(const int32_t *q, int16_t *codes, uint32_t bits) {
  if (bits == 8) {
    for (int i = 0; i < 32; i++) codes[i] = (int16_t)q[i];
    return;
  }
  for (int j = 0; j < 4; j++, codes += 8) {
    for (int i = 0; i < 2; i++) {
      codes[i] = (int16_t)q[4 * j + 2 * i];
      codes[2 + i] = (int16_t)q[16 + 4 * j + 2 * i];
      codes[4 + i] = (int16_t)q[4 * j + 2 * i + 1];
      codes[6 + i] = (int16_t)q[16 + 4 * j + 2 * i + 1];
    }
  }
}

static void quantize_block(const float *x, uint8_t *block, uint32_t bits) {
  f32x4 top = splat_f32(0.0f), poison = top;
  for (int i = 0; i < 32; i += 4) {
    f32x4 v = load_f32x4(x + i);
    poison += v * splat_f32(0.0f); /* NaN where v is infinite or NaN */
    top = max_f32x4(abs_f32x4(v), top);
  }
  float largest = max_of_f32x4(top), levels = ACTIVATION_LEVELS;
  int zero = largest < 1e-30f; /* levels / largest would overflow */
  float scale = (zero ? 0.0f : largest / levels) + sum_f32x4(poison);
  int32_t codes[32];
  int32_t sum = quantize_codes(x, zero ? 0.0f : levels / largest, codes);
  float header[2] = {scale, scale * (float)sum};
  __builtin_memcpy(block, header, 8);
  store_codes(codes, (int16_t *)(block + 8), bits);
}

EXPORT uint32_t fw_activation_block_bytes(void) { return ACTIVATION_BYTES; }

EXPORT void fw_quantize_rows(const float *x, uint32_t x_stride, uint8_t *blocks, uint32_t rows, uint32_t width,
                             uint32_t bits) {
  for (uint32_t r = 0; r < rows; r++, x += x_stride) {
    uint32_t k = 0;
    for (; k + 32 <= width; k += 32, blocks += ACTIVATION_BYTES) quantize_block(x + k, blocks, bits);
    if (k == width) continue;
    float tail[32] = {0};
    for (uint32_t i = 0; k + i < width; i++) tail[i] = x[k + i];
    quantize_block(tail, blocks, bits);
    blocks += ACTIVATION_BYTES;
  }
}
