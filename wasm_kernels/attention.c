/* Streaming-softmax attention over a paged KV cache (Milakov and Gimelshein 2018; Dao et al. 2022), up to four queries
   at a time; grouped queries share every key and value that is read. Long contexts are cut into ranges whose partial
   results are combined (Flash-Decoding, Dao et al. 2023). */
#include "featherweight_kernels.h"
#include "float_math.h"
#include "distance_bias.h"
#include "kv_cache.h"

#define GROUP 4 /* queries per pass */
#define LOWEST -3e38f

/* The queries of one pass and what was summed for them so far. */
typedef struct {
  float query[GROUP][FW_MAX_HEAD_DIM], acc[GROUP][FW_MAX_HEAD_DIM], scores[GROUP][KEY_BLOCK];
  float maximum[GROUP], total[GROUP], factor[GROUP];
  uint32_t begin[GROUP], end[GROUP]; /* the keys that a query sees */
  distance_bias bias[GROUP];
} query_group;

/* Vectors of 4 that a pass handles at once: the queries' sums and factors have to fit 15 registers beside them. */
INLINE uint32_t lanes_of(uint32_t count) { return count > 2 ? 2 : 4; }

/* Scores of the keys in 4 * `vectors` lanes. Both this and accumulate_lanes stay loops over pointers of their own: see
   OPAQUE, and matmul_tile.h. */
INLINE void score_lanes(query_group *g, uint32_t count, uint32_t vectors, uint32_t key, const uint8_t *keys,
                        uint32_t dim, uint32_t type) {
  const float *q = g->query[0], *const end = q + dim;
  const uint8_t *row[2];
  f32x4 acc[GROUP][4] = {0}, lane[4];
  for (uint32_t n = 0; n < vectors / 2; n++) row[n] = keys + (key + KEY_LANES * n) * dim * element_bytes(type);
  do {
    OPAQUE(q);
    for (uint32_t n = 0; n < vectors / 2; n++) {
      OPAQUE(row[n]);
      load_elements(row[n], 0, type, &lane[2 * n], &lane[2 * n + 1]);
      row[n] += KEY_LANES * element_bytes(type);
    }
    for (uint32_t i = 0; i < count; i++) {
      const f32x4 factor = load_splat_f32(q + i * FW_MAX_HEAD_DIM);
      for (uint32_t n = 0; n < vectors; n++) acc[i][n] = madd(lane[n], factor, acc[i][n]);
    }
    q++;
  } while (q != end);
  for (uint32_t i = 0; i < count; i++) {
    for (uint32_t n = 0; n < vectors; n++) store_f32x4(&g->scores[i][key + 4 * n], acc[i][n]);
  }
}

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

/* What lies between dot products and softmax: scales of 8-bit keys, and the soft cap. */
INLINE void shape_scores(float *scores, const float *scales, uint32_t type, float softcap) {
  for (uint32_t key = 0; key < KEY_BLOCK; key += 4) {
    f32x4 v = load_f32x4(scores + key);
    if (type == FW_KV_I8) v *= load_f32x4(scales + key);
    if (type == FW_KV_F16) v *= splat_f32(rest_of(type));
    if (softcap != 0.0f) v = splat_f32(softcap) * tanh_f32x4(v * splat_f32(1.0f / softcap));
    store_f32x4(scores + key, v);
  }
}

/* acc[i] = acc[i] * factor[i] + p[i] . values, for elements d... of `used` keys. */
INLINE void accumulate_lanes(query_group *g, uint32_t count, uint32_t vectors, uint32_t d, const uint8_t *values,
                             uint32_t used, uint32_t type) {
  const float *p = g->scores[0], *const end = p + used;
  f32x4 sum[GROUP][4], lane[4];
  for (uint32_t i = 0; i < count; i++) {
    for (uint32_t n = 0; n < vectors; n++) sum[i][n] = load_f32x4(&g->acc[i][d + 4 * n]) * splat_f32(g->factor[i]);
  }
  values += KEY_BLOCK * d * element_bytes(type);
  do {
    OPAQUE(values);
    OPAQUE(p);
    for (uint32_t n = 0; n < vectors; n += 2) load_elements(values, KEY_BLOCK * 4 * n, type, &lane[n], &lane[n + 1]);
    for (uint32_t i = 0; i < count; i++) {
      const f32x4 weight = load_splat_f32(p + i * KEY_BLOCK);
      for (uint32_t n = 0; n < vectors; n++) sum[i][n] = madd(lane[n], weight, sum[i][n]);
    }
    values += VALUE_LANES * element_bytes(type);
    p++;
  } while (p != end);
  for (uint32_t i = 0; i < count; i++) {
    for (uint32_t n = 0; n < vectors; n++) store_f32x4(&g->acc[i][d + 4 * n], sum[i][n]);
  }
}

INLINE uint32_t clamp_u32(uint32_t x, uint32_t low, uint32_t high) { return x < low ? low : x > high ? high : x; }

/* The keys begin..end (begin a multiple of KEY_BLOCK) for all queries of a group. */
INLINE void attend_group(const fw_kv_cache *cache, uint32_t kv_head, query_group *g, uint32_t count, uint32_t key_base,
                         uint32_t begin, uint32_t end, float softcap, uint32_t type) {
  const uint32_t dim = cache->head_dim, vectors = lanes_of(count), bytes = element_bytes(type);
  for (uint32_t key = begin; key < end; key += KEY_BLOCK) {
    const uint32_t slot = key_base + key, used = end - key < KEY_BLOCK ? end - key : KEY_BLOCK;
    const kv_head_page page = head_page(cache, slot, kv_head, type);
    const size_t token = slot % FW_PAGE_TOKENS;
    for (uint32_t lane = 0; lane < KEY_BLOCK; lane += 4 * vectors) {
      score_lanes(g, count, vectors, lane, page.keys + token * dim * bytes, dim, type);
    }
    for (uint32_t i = 0; i < count; i++) {
      if (type != FW_KV_F32 || softcap != 0.0f) shape_scores(g->scores[i], page.key_scales + token, type, softcap);
      if (g->bias[i].table) add_distance_bias(&g->bias[i], key, g->scores[i]);
      soften(g, i, clamp_u32(g->begin[i], key, key + used) - key, clamp_u32(g->end[i], key, key + used) - key);
      for (uint32_t lane = 0; lane < KEY_BLOCK && type != FW_KV_F32; lane += 4) {
        const f32x4 gain = type == FW_KV_I8 ? load_f32x4(page.value_scales + token + lane) : splat_f32(gain_of(type));
        store_f32x4(&g->scores[i][lane], load_f32x4(&g->scores[i][lane]) * gain);
      }
    }
    const uint8_t *values = page.values + token * dim * bytes;
    uint32_t d = 0;
    for (; d + 4 * vectors <= dim; d += 4 * vectors) accumulate_lanes(g, count, vectors, d, values, used, type);
    if (d < dim) accumulate_lanes(g, count, 2, d, values, used, type);
  }
}

static void attend_any(const fw_kv_cache *cache, uint32_t kv_head, query_group *g, uint32_t count, uint32_t key_base,
                       uint32_t begin, uint32_t end, float softcap) {
#define CASE(n, type) \
  case 4 * (n) + (type): attend_group(cache, kv_head, g, n, key_base, begin, end, softcap, type); break
#define CASES(n) CASE(n, FW_KV_F32); CASE(n, FW_KV_F16); CASE(n, FW_KV_I8)
  switch (4 * count + cache->type) {
    CASES(1);
    CASES(2);
    CASES(3);
    CASES(4);
  }
#undef CASES
#undef CASE
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
  const float gain = gain_of(cache->type), rest = rest_of(cache->type);
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
      for (uint32_t d = 0; d < dim; d++) g.query[i][d] = source[d] * a->scale * gain, g.acc[i][d] = 0;
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
      float *target = y + (size_t)row * y_stride + (size_t)head * dim, factor = rest / g.total[i];
      if (partials) {
        target = partial_of(partials, range, queries, first + i, dim);
        target[dim] = g.maximum[i], target[dim + 1] = g.total[i];
        factor = rest;
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
