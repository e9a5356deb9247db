/* Streaming-softmax attention over a paged KV cache (Milakov and Gimelshein 2018; Dao et al. 2022), up to four queries
   at a time; grouped queries share every key and value that is read. Long contexts are cut into ranges whose partial
   results are combined (Flash-Decoding, Dao et al. 2023). */
#include "attention_codes.h"
#include "attention_floats.h"
#include "featherweight_kernels.h"
#include "float_math.h"

#define LOWEST -3e38f

/* Scores of one query to probabilities relative to its running maximum. */
INLINE void soften(query_group *g, uint32_t i, uint32_t first, uint32_t last) {
  float *scores = g->scores[i];
  for (uint32_t key = 0; key < first; key++) scores[key] = LOWEST;
  for (uint32_t key = last; key < KEY_BLOCK; key++) scores[key] = LOWEST;
  f32x4 top = splat_f32(g->maximum[i]), sum = splat_f32(0.0f);
  for (uint32_t key = 0; key < KEY_BLOCK; key += 4) top = max_f32x4(top, load_f32x4(scores + key));
  const float largest = max_of_f32x4(top), factor = exp_f32(g->maximum[i] - largest);
  for (uint32_t key = 0; key < KEY_BLOCK; key += 4) {
    const f32x4 p = exp_f32x4(load_f32x4(scores + key) - splat_f32(largest));
    store_f32x4(scores + key, p);
    sum += p;
  }
  g->maximum[i] = largest;
  g->factor[i] = factor;
  g->total[i] = g->total[i] * factor + sum_f32x4(sum);
}

/* softcap * tanh(score / softcap) */
INLINE void cap_scores(float *scores, float softcap) {
  for (uint32_t key = 0; key < KEY_BLOCK; key += 4) {
    const f32x4 v = load_f32x4(scores + key);
    store_f32x4(scores + key, splat_f32(softcap) * tanh_f32x4(v * splat_f32(1.0f / softcap)));
  }
}

INLINE uint32_t clamp_u32(uint32_t x, uint32_t low, uint32_t high) { return x < low ? low : x > high ? high : x; }

INLINE void accumulate(query_group *g, uint32_t count, uint32_t vectors, uint32_t d, const uint8_t *values,
                       uint32_t used, uint32_t type) {
  if (type == FW_KV_F32) accumulate_floats(g, count, vectors, d, (const float *)values, used);
  else accumulate_codes(g, count, vectors, d, values, used, type);
}

/* The keys begin..end (begin a multiple of KEY_BLOCK) for all queries of a group. */
INLINE void attend_group(const fw_kv_cache *cache, uint32_t kv_head, query_group *g, uint32_t count, uint32_t key_base,
                         uint32_t begin, uint32_t end, float softcap, uint32_t type) {
  const uint32_t dim = cache->head_dim, vectors = lanes_of(count);
  for (uint32_t key = begin; key < end; key += KEY_BLOCK) {
    const uint32_t used = end - key < KEY_BLOCK ? end - key : KEY_BLOCK;
    const kv_block block = block_of(cache, key_base + key, kv_head, type);
    for (uint32_t lane = 0; lane < KEY_BLOCK; lane += 4 * vectors) {
      if (type == FW_KV_F32) score_floats(g, count, vectors, lane, (const float *)block.keys, dim);
      else score_codes(g, count, vectors, lane, block.keys, block.key_scales, dim, type);
    }
    for (uint32_t i = 0; i < count; i++) {
      if (softcap != 0.0f) cap_scores(g->scores[i], softcap);
      if (g->bias[i].table) add_distance_bias(&g->bias[i], key, g->scores[i]);
      soften(g, i, clamp_u32(g->begin[i], key, key + used) - key, clamp_u32(g->end[i], key, key + used) - key);
      if (type != FW_KV_F32) encode_weights(g, i, block.value_scales, used);
    }
    uint32_t d = 0;
    for (; d + 4 * vectors <= dim; d += 4 * vectors) accumulate(g, count, vectors, d, block.values, used, type);
    if (d < dim) accumulate(g, count, 2, d, block.values, used, type);
  }
}

#define VARIANTS(n)                                                                                                    \
  ATTEND(n, FW_KV_F32)                                                                                                 \
  ATTEND(n, FW_KV_I16)                                                                                                 \
  ATTEND(n, FW_KV_I8)
#define ATTEND(n, type)                                                                                                \
  VARIANT void attend_##n##_##type(const fw_kv_cache *cache, uint32_t kv_head, query_group *g, uint32_t key_base,      \
                                   uint32_t begin, uint32_t end, float softcap) {                                      \
    attend_group(cache, kv_head, g, n, key_base, begin, end, softcap, type);                                           \
  }
VARIANTS(1)
VARIANTS(2)
VARIANTS(3)
VARIANTS(4)
#undef ATTEND

INLINE void attend_any(const fw_kv_cache *cache, uint32_t kv_head, query_group *g, uint32_t count, uint32_t key_base,
                       uint32_t begin, uint32_t end, float softcap) {
#define ATTEND(n, type)                                                                                                \
  case 4 * (n) + (type): attend_##n##_##type(cache, kv_head, g, key_base, begin, end, softcap); break;
  switch (4 * count + cache->type) {
    VARIANTS(1)
    VARIANTS(2)
    VARIANTS(3)
    VARIANTS(4)
  }
#undef ATTEND
#undef VARIANTS
}

/* The keys begin..end that row `row` of a tile sees. */
INLINE void visible_keys(const fw_attention *a, uint32_t row, uint32_t *begin, uint32_t *end) {
  *end = a->causal ? a->keys - (a->rows - 1 - row) : a->keys;
  *begin = a->window && *end > a->window ? *end - a->window : 0;
}

EXPORT uint32_t fw_attend_ranges(const fw_attention *a) {
  uint32_t begin, end;
  visible_keys(a, 0, &begin, &end);
  return (a->keys - 1) / FW_PAGE_TOKENS - begin / FW_PAGE_TOKENS + 1;
}

/* Result of a query over a range of keys, not yet divided by its total. */
INLINE float *partial_of(float *partials, uint32_t range, uint32_t queries, uint32_t query, uint32_t dim) {
  return partials + ((size_t)range * queries + query) * (dim + FW_PARTIAL_EXTRA);
}

EXPORT void fw_attend(const fw_kv_cache *cache, const fw_attention *a, uint32_t kv_head, const float *q,
                      uint32_t q_stride, float *y, uint32_t y_stride, uint32_t range, float *partials) {
  const uint32_t queries = a->rows * a->heads_per_kv, first_head = kv_head * a->heads_per_kv, dim = cache->head_dim;
  query_group g;
  uint32_t first_key, last_key;
  visible_keys(a, 0, &first_key, &last_key);
  last_key = a->keys;
  if (partials) {
    const uint32_t page = first_key / FW_PAGE_TOKENS + range;
    first_key = clamp_u32(first_key, page * FW_PAGE_TOKENS, last_key);
    last_key = clamp_u32((page + 1) * FW_PAGE_TOKENS, 0, last_key);
  }
  for (uint32_t first = 0; first < queries; first += GROUP) {
    const uint32_t count = queries - first < GROUP ? queries - first : GROUP;
    uint32_t begin = last_key, end = 0;
    for (uint32_t i = 0; i < count; i++) {
      const uint32_t row = (first + i) / a->heads_per_kv, head = first_head + (first + i) % a->heads_per_kv;
      const float *source = q + (size_t)row * q_stride + (size_t)head * dim;
      for (uint32_t d = 0; d < dim; d++) g.query[i][d] = source[d] * a->scale, g.acc[i][d] = 0;
      if (cache->type != FW_KV_F32) g.query_scale[i] = encode_row(g.query[i], dim, LARGEST_CODE, 1, g.query_codes[i]);
      g.maximum[i] = LOWEST, g.total[i] = 0;
      g.bias[i] = distance_bias_of(a, head, row);
      visible_keys(a, row, &g.begin[i], &g.end[i]);
      g.begin[i] = clamp_u32(g.begin[i], first_key, last_key), g.end[i] = clamp_u32(g.end[i], first_key, last_key);
      if (g.begin[i] < begin) begin = g.begin[i];
      if (g.end[i] > end) end = g.end[i];
    }
    attend_any(cache, kv_head, &g, count, a->key_base, begin & ~(KEY_BLOCK - 1u), end, a->softcap);
    for (uint32_t i = 0; i < count; i++) {
      const uint32_t row = (first + i) / a->heads_per_kv, head = first_head + (first + i) % a->heads_per_kv;
      float *target = y + (size_t)row * y_stride + (size_t)head * dim, factor = 1.0f / g.total[i];
      if (partials) {
        target = partial_of(partials, range, queries, first + i, dim);
        target[dim] = g.maximum[i], target[dim + 1] = g.total[i];
        factor = 1.0f;
      }
      for (uint32_t d = 0; d < dim; d++) target[d] = g.acc[i][d] * factor;
    }
  }
}

EXPORT void fw_combine_ranges(const fw_attention *a, uint32_t kv_head, uint32_t dim, uint32_t ranges, float *partials,
                              float *y, uint32_t y_stride) {
  const uint32_t queries = a->rows * a->heads_per_kv;
  for (uint32_t query = 0; query < queries; query++) {
    const uint32_t row = query / a->heads_per_kv, head = kv_head * a->heads_per_kv + query % a->heads_per_kv;
    float *target = y + (size_t)row * y_stride + (size_t)head * dim, maximum = LOWEST, total = 0;
    for (uint32_t range = 0; range < ranges; range++) {
      const float top = partial_of(partials, range, queries, query, dim)[dim];
      if (top > maximum) maximum = top;
    }
    for (uint32_t d = 0; d < dim; d++) target[d] = 0;
    for (uint32_t range = 0; range < ranges; range++) {
      const float *partial = partial_of(partials, range, queries, query, dim), factor = exp_f32(partial[dim] - maximum);
      total += factor * partial[dim + 1];
      for (uint32_t d = 0; d < dim; d++) target[d] += factor * partial[d];
    }
    for (uint32_t d = 0; d < dim; d++) target[d] /= total;
  }
}
