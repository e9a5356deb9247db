/* Rotary embedding of queries and keys (Su et al. 2021), and the storing of keys and values in the cache. */
#include "featherweight_kernels.h"
#include "float_math.h"
#include "kv_cache.h"

EXPORT uint32_t fw_kv_head_bytes(uint32_t head_dim, uint32_t type) { return head_page_bytes(head_dim, type); }

/* The first 2 * half_dim elements, in halves. */
INLINE void rotate(float *x, const float *cosine, const float *sine, uint32_t half_dim) {
  uint32_t i = 0;
  for (; i + 4 <= half_dim; i += 4) {
    const f32x4 a = load_f32x4(x + i), b = load_f32x4(x + half_dim + i);
    const f32x4 c = load_f32x4(cosine + i), s = load_f32x4(sine + i);
    store_f32x4(x + i, a * c - b * s);
    store_f32x4(x + half_dim + i, b * c + a * s);
  }
  for (; i < half_dim; i++) {
    const float a = x[i], b = x[half_dim + i];
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

/* Eight elements of a row times factor, as the cache holds them: the first `bytes` of each lane. */
INLINE void make_elements(const float *x, float factor, uint32_t type, uint32_t *elements) {
  for (uint32_t i = 0; i < VALUE_LANES; i += 4) {
    const f32x4 v = load_f32x4(x + i) * splat_f32(factor);
    const u32x4 made = type == FW_KV_F32 ? (u32x4)v : type == FW_KV_F16 ? f32_to_f16x4(v) : (u32x4)round_f32x4(v);
    __builtin_memcpy(elements + i, &made, 16);
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
  const uint32_t bytes = element_bytes(type);
  uint8_t *keys = page->keys + (token / KEY_LANES * dim * KEY_LANES + token % KEY_LANES) * bytes;
  uint8_t *values = page->values + (token / KEY_BLOCK * dim * KEY_BLOCK + token % KEY_BLOCK * VALUE_LANES) * bytes;
  for (uint32_t d = 0; d < dim; d += VALUE_LANES, values += KEY_BLOCK * VALUE_LANES * bytes) {
    uint32_t elements[VALUE_LANES];
    make_elements(k + d, key_factor, type, elements);
    for (uint32_t i = 0; i < VALUE_LANES; i++, keys += KEY_LANES * bytes) __builtin_memcpy(keys, &elements[i], bytes);
    make_elements(v + d, value_factor, type, elements);
    for (uint32_t i = 0; i < VALUE_LANES; i++) __builtin_memcpy(values + i * bytes, &elements[i], bytes);
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
