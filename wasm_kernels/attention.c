/* Streaming-softmax attention over a paged KV cache (Milakov and Gimelshein 2018; Dao et al. 2022), up to four queries
   at a time; grouped queries share every key and value that is read. */
#include "featherweight_kernels.h"
#include "float_math.h"

#define BLOCK 32 /* keys per step of the softmax */
#define GROUP 4  /* queries per pass */

INLINE f32x4 load_element4(const uint8_t *p, uint32_t i, uint32_t half) {
  return half ? load_f16x4(p + 2 * i) : load_f32x4((const float *)p + i);
}

INLINE void store_element(uint8_t *p, uint32_t i, float v, uint32_t half) {
  if (half) {
    ((uint16_t *)p)[i] = f32_to_f16(v);
  } else {
    ((float *)p)[i] = v;
  }
}

/* Start of one head's keys in the page of `slot`; its values follow FW_PAGE_TOKENS * head_dim elements later. */
INLINE uint8_t *head_page(const fw_kv_cache *cache, uint32_t slot, uint32_t head) {
  uint32_t bytes = 2 * FW_PAGE_TOKENS * cache->head_dim * (cache->half ? 2 : 4);
  return (uint8_t *)(uintptr_t)cache->pages[slot / FW_PAGE_TOKENS] + cache->layer_offset + (size_t)head * bytes;
}

static void rotate(float *x, const float *cosine, const float *sine, uint32_t half_dim) {
  for (uint32_t i = 0; i < half_dim; i++) {
    float a = x[i], b = x[half_dim + i];
    x[i] = a * cosine[i] - b * sine[i];
    x[half_dim + i] = b * cosine[i] + a * sine[i];
  }
}

EXPORT void fw_append_kv(const fw_kv_cache *cache, float *q, uint32_t q_stride, float *k, uint32_t k_stride,
                         const float *v, uint32_t v_stride, const float *cosine, const float *sine,
                         const uint32_t *positions, const uint32_t *slots, uint32_t rows, uint32_t heads,
                         uint32_t kv_heads) {
  const uint32_t dim = cache->head_dim, half_dim = dim / 2, bytes = cache->half ? 2 : 4;
  for (uint32_t r = 0; r < rows; r++, q += q_stride, k += k_stride, v += v_stride) {
    if (cosine) {
      const float *c = cosine + (size_t)positions[r] * half_dim, *s = sine + (size_t)positions[r] * half_dim;
      for (uint32_t h = 0; h < heads; h++) rotate(q + h * dim, c, s, half_dim);
      for (uint32_t h = 0; h < kv_heads; h++) rotate(k + h * dim, c, s, half_dim);
    }
    const uint32_t token = slots[r] % FW_PAGE_TOKENS;
    for (uint32_t h = 0; h < kv_heads; h++) {
      uint8_t *keys = head_page(cache, slots[r], h), *values = keys + (size_t)FW_PAGE_TOKENS * dim * bytes;
      keys += (size_t)(token / BLOCK) * BLOCK * dim * bytes;
      for (uint32_t d = 0; d < dim; d++) store_element(keys, d * BLOCK + token % BLOCK, k[h * dim + d], cache->half);
      for (uint32_t d = 0; d < dim; d++) store_element(values, token * dim + d, v[h * dim + d], cache->half);
    }
  }
}

/* scores[i][key] = q[i] . key, for one block of keys stored as [head_dim][BLOCK]. */
INLINE void score_block(const float (*q)[FW_MAX_HEAD_DIM], uint32_t count, const uint8_t *keys, uint32_t dim,
                        uint32_t half, float (*scores)[BLOCK]) {
  for (uint32_t key = 0; key < BLOCK; key += 8) {
    f32x4 acc[2 * GROUP];
    for (uint32_t i = 0; i < 2 * count; i++) acc[i] = splat_f32(0.0f);
    for (uint32_t d = 0; d < dim; d++) {
      f32x4 left = load_element4(keys, d * BLOCK + key, half), right = load_element4(keys, d * BLOCK + key + 4, half);
      for (uint32_t i = 0; i < count; i++) {
        f32x4 factor = load_splat_f32(&q[i][d]);
        acc[2 * i] = madd(left, factor, acc[2 * i]);
        acc[2 * i + 1] = madd(right, factor, acc[2 * i + 1]);
      }
    }
    for (uint32_t i = 0; i < count; i++) {
      store_f32x4(&scores[i][key], acc[2 * i]);
      store_f32x4(&scores[i][key + 4], acc[2 * i + 1]);
    }
  }
}

/* Scores of one query to probabilities relative to its running maximum; returns the factor for what was summed before. */
static float soften(float *scores, uint32_t valid, float *maximum, float *total) {
  const float lowest = -3e38f;
  for (uint32_t key = valid; key < BLOCK; key++) scores[key] = lowest;
  f32x4 top = splat_f32(*maximum), sum = splat_f32(0.0f);
  for (uint32_t key = 0; key < BLOCK; key += 4) top = max_f32x4(top, load_f32x4(scores + key));
  const float largest = max_of_f32x4(top), factor = exp_f32(*maximum - largest);
  for (uint32_t key = 0; key < BLOCK; key += 4) {
    f32x4 p = exp_f32x4(load_f32x4(scores + key) - splat_f32(largest));
    store_f32x4(scores + key, p);
    sum += p;
  }
  *maximum = largest;
  *total = *total * factor + sum_f32x4(sum);
  return factor;
}

/* acc[i] = acc[i] * factor[i] + p[i] . values, for `used` keys stored as [key][head_dim]. */
INLINE void accumulate(float (*acc)[FW_MAX_HEAD_DIM], uint32_t count, const float *factor, float (*p)[BLOCK],
                       const uint8_t *values, uint32_t used, uint32_t dim, uint32_t half) {
  for (uint32_t d = 0; d < dim; d += 8) {
    f32x4 sum[2 * GROUP];
    for (uint32_t i = 0; i < count; i++) {
      sum[2 * i] = load_f32x4(&acc[i][d]) * splat_f32(factor[i]);
      sum[2 * i + 1] = load_f32x4(&acc[i][d + 4]) * splat_f32(factor[i]);
    }
    for (uint32_t key = 0; key < used; key++) {
      f32x4 left = load_element4(values, key * dim + d, half), right = load_element4(values, key * dim + d + 4, half);
      for (uint32_t i = 0; i < count; i++) {
        f32x4 weight = load_splat_f32(&p[i][key]);
        sum[2 * i] = madd(left, weight, sum[2 * i]);
        sum[2 * i + 1] = madd(right, weight, sum[2 * i + 1]);
      }
    }
    for (uint32_t i = 0; i < count; i++) {
      store_f32x4(&acc[i][d], sum[2 * i]);
      store_f32x4(&acc[i][d + 4], sum[2 * i + 1]);
    }
  }
}

/* `count` queries over the keys from slot key_base on; query i sees the first visible[i] of them (ascending, >= 1). */
INLINE void attend_group(const fw_kv_cache *cache, uint32_t kv_head, const float *const *q, float *const *y,
                         const uint32_t *visible, uint32_t count, uint32_t key_base, float scale, uint32_t half) {
  const uint32_t dim = cache->head_dim, bytes = half ? 2 : 4, limit = visible[count - 1];
  float query[GROUP][FW_MAX_HEAD_DIM], acc[GROUP][FW_MAX_HEAD_DIM], scores[GROUP][BLOCK];
  float maximum[GROUP], total[GROUP], factor[GROUP];
  for (uint32_t i = 0; i < count; i++) {
    for (uint32_t d = 0; d < dim; d++) query[i][d] = q[i][d] * scale, acc[i][d] = 0;
    maximum[i] = -3e38f, total[i] = 0;
  }
  for (uint32_t key = 0; key < limit; key += BLOCK) {
    const uint32_t slot = key_base + key, used = limit - key < BLOCK ? limit - key : BLOCK;
    const uint8_t *keys = head_page(cache, slot, kv_head), *values = keys + (size_t)FW_PAGE_TOKENS * dim * bytes;
    const size_t token = slot % FW_PAGE_TOKENS;
    score_block(query, count, keys + token * dim * bytes, dim, half, scores);
    for (uint32_t i = 0; i < count; i++) {
      uint32_t valid = visible[i] <= key ? 0 : visible[i] - key < BLOCK ? visible[i] - key : BLOCK;
      factor[i] = soften(scores[i], valid, &maximum[i], &total[i]);
    }
    accumulate(acc, count, factor, scores, values + token * dim * bytes, used, dim, half);
  }
  for (uint32_t i = 0; i < count; i++) {
    for (uint32_t d = 0; d < dim; d++) y[i][d] = acc[i][d] / total[i];
  }
}

static void attend_any(const fw_kv_cache *cache, uint32_t kv_head, const float *const *q, float *const *y,
                       const uint32_t *visible, uint32_t count, uint32_t key_base, float scale) {
#define CASE(n, half) \
  case 2 * (n) + (half): attend_group(cache, kv_head, q, y, visible, n, key_base, scale, half); break
  switch (2 * count + (cache->half ? 1 : 0)) {
    CASE(1, 0);
    CASE(1, 1);
    CASE(2, 0);
    CASE(2, 1);
    CASE(3, 0);
    CASE(3, 1);
    CASE(4, 0);
    CASE(4, 1);
  }
#undef CASE
}

EXPORT void fw_attend(const fw_kv_cache *cache, uint32_t kv_head, const float *q, uint32_t q_stride, float *y,
                      uint32_t y_stride, uint32_t rows, uint32_t heads_per_kv, uint32_t key_base, uint32_t keys,
                      uint32_t causal, float scale) {
  const uint32_t queries = rows * heads_per_kv, first_head = kv_head * heads_per_kv;
  for (uint32_t first = 0; first < queries; first += GROUP) {
    const float *query[GROUP];
    float *target[GROUP];
    uint32_t visible[GROUP], count = queries - first < GROUP ? queries - first : GROUP;
    for (uint32_t i = 0; i < count; i++) {
      const uint32_t row = (first + i) / heads_per_kv;
      const size_t offset = (size_t)(first_head + (first + i) % heads_per_kv) * cache->head_dim;
      query[i] = q + (size_t)row * q_stride + offset;
      target[i] = y + (size_t)row * y_stride + offset;
      visible[i] = causal ? keys - (rows - 1 - row) : keys;
    }
    attend_any(cache, kv_head, query, target, visible, count, key_base, scale);
  }
}
