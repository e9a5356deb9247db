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

INLINE uint32_t key_index(uint32_t token, uint32_t d, uint32_t dim) {
  return (token / KEY_LANES * dim + d) * KEY_LANES + token % KEY_LANES;
}

INLINE uint32_t value_index(uint32_t token, uint32_t d, uint32_t dim) {
  const uint32_t group = token / KEY_BLOCK * (dim / VALUE_LANES) + d / VALUE_LANES;
  return (group * KEY_BLOCK + token % KEY_BLOCK) * VALUE_LANES + d % VALUE_LANES;
}

INLINE void store_element(uint8_t *p, uint32_t i, float x, uint32_t type) {
  if (type == FW_KV_F32) {
    ((float *)p)[i] = x;
  } else if (type == FW_KV_F16) {
    ((uint16_t *)p)[i] = f32_to_f16(x);
  } else {
    ((int8_t *)p)[i] = (int8_t)round_to_i32(x);
  }
}

/* Factor of the elements of a row before they are stored; *scale is the other way round. */
static float quantize_row(const float *x, uint32_t dim, float *scale) {
  *scale = code_scale(x, dim);
  return *scale > 0 ? 1.0f / *scale : 0.0f; /* 0 too when it is NaN */
}

/* One head of one token. */
INLINE void store_token(const kv_head_page *page, uint32_t token, const float *k, const float *v, uint32_t dim,
                        uint32_t type) {
  float key_factor = 1.0f, value_factor = 1.0f;
  if (type == FW_KV_I8) {
    key_factor = quantize_row(k, dim, page->key_scales + token);
    value_factor = quantize_row(v, dim, page->value_scales + token);
  }
  for (uint32_t d = 0; d < dim; d++) {
    store_element(page->keys, key_index(token, d, dim), k[d] * key_factor, type);
    store_element(page->values, value_index(token, d, dim), v[d] * value_factor, type);
  }
}

EXPORT void fw_append_kv(const fw_kv_cache *cache, float *q, uint32_t q_stride, float *k, uint32_t k_stride,
                         const float *v, uint32_t v_stride, const float *cosine, const float *sine, uint32_t rotary_dim,
                         const uint32_t *positions, const uint32_t *slots, uint32_t rows, uint32_t heads,
                         uint32_t kv_heads) {
  const uint32_t dim = cache->head_dim, half_dim = rotary_dim / 2;
  for (uint32_t r = 0; r < rows; r++, q += q_stride, k += k_stride, v += v_stride) {
    if (cosine) {
      const float *c = cosine + (size_t)positions[r] * half_dim, *s = sine + (size_t)positions[r] * half_dim;
      for (uint32_t h = 0; h < heads; h++) rotate(q + h * dim, c, s, half_dim);
      for (uint32_t h = 0; h < kv_heads; h++) rotate(k + h * dim, c, s, half_dim);
    }
    for (uint32_t h = 0; h < kv_heads; h++) {
      const kv_head_page page = head_page(cache, slots[r], h, cache->type);
      const uint32_t token = slots[r] % FW_PAGE_TOKENS;
      switch (cache->type) {
        case FW_KV_F32: store_token(&page, token, k + h * dim, v + h * dim, dim, FW_KV_F32); break;
        case FW_KV_F16: store_token(&page, token, k + h * dim, v + h * dim, dim, FW_KV_F16); break;
        default: store_token(&page, token, k + h * dim, v + h * dim, dim, FW_KV_I8);
      }
    }
  }
}
