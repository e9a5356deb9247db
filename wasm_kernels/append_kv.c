/* Rotary embedding of queries and keys (Su et al. 2021), and the storing of keys and values in the cache. */
#include "code_rows.h"
#include "featherweight_kernels.h"
#include "kv_cache.h"

EXPORT uint32_t fw_kv_head_bytes(uint32_t head_dim, uint32_t type) {
  return 2 * FW_PAGE_TOKENS / KEY_BLOCK * kv_block_bytes(head_dim, type);
}

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

/* One head of a token of the block. */
INLINE void store_floats(const kv_block *block, uint32_t token, const float *k, const float *v, uint32_t dim) {
  float *keys = (float *)block->keys + token / KEY_LANES * dim * KEY_LANES + token % KEY_LANES;
  float *values = (float *)block->values + token * VALUE_LANES;
  for (uint32_t d = 0; d < dim; d++) keys[d * KEY_LANES] = k[d];
  for (uint32_t d = 0; d < dim; d += VALUE_LANES) {
    __builtin_memcpy(values + d * KEY_BLOCK, v + d, VALUE_LANES * sizeof(float));
  }
}

/* Likewise. Two codes of a key lie side by side; that of a value lies beside that of the token's neighbour. */
INLINE void store_codes(const kv_block *block, uint32_t token, const float *k, const float *v, uint32_t dim,
                        uint32_t type) {
  int16_t codes[FW_MAX_HEAD_DIM];
  const uint32_t bytes = element_bytes(type), wide = type == FW_KV_I16;
  const float levels = wide ? LARGEST_CODE : 127.0f;
  uint8_t *keys = block->keys + (token / KEY_LANES * dim * KEY_LANES + token % KEY_LANES * 2) * bytes;
  uint8_t *values = block->values + (token / 2 * 2 * VALUE_LANES + token % 2) * bytes;
  block->key_scales[token] = encode_row(k, dim, levels, wide, codes);
  for (uint32_t d = 0; d < dim; d += 2, keys += 2 * KEY_LANES * bytes) {
    const uint32_t first = (uint16_t)codes[d], second = (uint16_t)codes[d + 1];
    const uint32_t pair = wide ? second << 16 | first : second << 8 | (first & 255);
    __builtin_memcpy(keys, &pair, 2 * bytes);
  }
  block->value_scales[token] = encode_row(v, dim, levels, 0, codes);
  for (uint32_t d = 0; d < dim; d += VALUE_LANES, values += VALUE_LANES * KEY_BLOCK * bytes) {
    for (uint32_t i = 0; i < VALUE_LANES; i++) __builtin_memcpy(values + 2 * i * bytes, &codes[d + i], bytes);
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
      const kv_block block = block_of(cache, slots[r], h, cache->type);
      const uint32_t token = slots[r] % KEY_BLOCK;
      switch (cache->type) {
        case FW_KV_F32: store_floats(&block, token, k + h * dim, v + h * dim, dim); break;
        case FW_KV_I16: store_codes(&block, token, k + h * dim, v + h * dim, dim, FW_KV_I16); break;
        default: store_codes(&block, token, k + h * dim, v + h * dim, dim, FW_KV_I8);
      }
    }
  }
}
