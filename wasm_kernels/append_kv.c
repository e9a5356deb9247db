/* Rotary embedding of queries and keys (Su et al. 2021), and the storing of keys and values in the cache. */
#include "featherweight_kernels.h"
#include "float_math.h"
#include "kv_cache.h"

EXPORT uint32_t fw_kv_head_bytes(uint32_t head_dim, uint32_t type) { return head_page_bytes(head_dim, type); }

/* The first 2 * half_dim elements, in halves. */
static void rotate(float *x, const float *cosine, const float *sine, uint32_t half_dim) {
  for (uint32_t i = 0; i < half_dim; i++) {
    float a = x[i], b = x[half_dim + i];
    x[i] = a * cosine[i] - b * sine[i];
    x[half_dim + i] = b * cosine[i] + a * sine[i];
  }
}

/* Scale under which the largest of `dim` elements becomes 127; 0 when all are. NaN and infinity make it NaN. */
static float code_scale(const float *x, uint32_t dim) {
  float largest = 0, poison = 0;
  for (uint32_t d = 0; d < dim; d++) {
    const float magnitude = x[d] < 0 ? -x[d] : x[d];
    poison += x[d] * 0.0f;
    if (magnitude > largest) largest = magnitude;
  }
  return largest < 1e-30f ? poison : largest / 127.0f + poison;
}

/* One head of one token: element d goes to index d * step. */
static void store_row(uint8_t *p, uint32_t step, float *scale, const float *x, uint32_t dim, uint32_t type) {
  if (type == FW_KV_F32) {
    for (uint32_t d = 0; d < dim; d++) ((float *)p)[d * step] = x[d];
  } else if (type == FW_KV_F16) {
    for (uint32_t d = 0; d < dim; d++) ((uint16_t *)p)[d * step] = f32_to_f16(x[d]);
  } else {
    *scale = code_scale(x, dim);
    const float inverse = *scale > 0 ? 1.0f / *scale : 0.0f; /* 0 too when it is NaN */
    for (uint32_t d = 0; d < dim; d++) ((int8_t *)p)[d * step] = (int8_t)round_to_i32(x[d] * inverse);
  }
}

EXPORT void fw_append_kv(const fw_kv_cache *cache, float *q, uint32_t q_stride, float *k, uint32_t k_stride,
                         const float *v, uint32_t v_stride, const float *cosine, const float *sine, uint32_t rotary_dim,
                         const uint32_t *positions, const uint32_t *slots, uint32_t rows, uint32_t heads,
                         uint32_t kv_heads) {
  const uint32_t dim = cache->head_dim, half_dim = rotary_dim / 2, bytes = element_bytes(cache->type);
  for (uint32_t r = 0; r < rows; r++, q += q_stride, k += k_stride, v += v_stride) {
    if (cosine) {
      const float *c = cosine + (size_t)positions[r] * half_dim, *s = sine + (size_t)positions[r] * half_dim;
      for (uint32_t h = 0; h < heads; h++) rotate(q + h * dim, c, s, half_dim);
      for (uint32_t h = 0; h < kv_heads; h++) rotate(k + h * dim, c, s, half_dim);
    }
    const size_t token = slots[r] % FW_PAGE_TOKENS, lane = token % KEY_BLOCK;
    for (uint32_t h = 0; h < kv_heads; h++) {
      const kv_head_page page = head_page(cache, slots[r], h, cache->type);
      uint8_t *key = page.keys + ((token - lane) * dim + lane) * bytes;
      store_row(key, KEY_BLOCK, page.key_scales + token, k + h * dim, dim, cache->type);
      store_row(page.values + token * dim * bytes, 1, page.value_scales + token, v + h * dim, dim, cache->type);
    }
  }
}
