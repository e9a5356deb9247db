/* Owns the products of attention over a cache of codes: integers, two products to an instruction. */
#pragma once
#include "attention_group.h"
#include "code_rows.h"

/* 8 codes of the cache, from index i on. */
INLINE i16x8 cached_codes(const uint8_t *p, uint32_t i, uint32_t type) {
  return type == FW_KV_I16 ? (i16x8)load_u16x8(p + 2 * i) : load_i8x8_as_i16(p + i);
}

/* Scores of the keys in 4 * `vectors` lanes from `key` on, of which `scales` are those of the block. */
INLINE void score_codes(query_group *g, uint32_t count, uint32_t vectors, uint32_t key, const uint8_t *keys,
                        const float *scales, uint32_t dim, uint32_t type) {
  const int16_t *q = g->query_codes[0], *const end = q + dim;
  const uint8_t *row[2];
  i32x4 dot[GROUP][4] = {0};
  i16x8 lane[4];
  for (uint32_t n = 0; n < vectors / 2; n++) row[n] = keys + (key + KEY_LANES * n) * dim * element_bytes(type);
  do {
    OPAQUE(q);
    for (uint32_t n = 0; n < vectors / 2; n++) {
      OPAQUE(row[n]);
      lane[2 * n] = cached_codes(row[n], 0, type), lane[2 * n + 1] = cached_codes(row[n], KEY_LANES, type);
      row[n] += 2 * KEY_LANES * element_bytes(type);
    }
    for (uint32_t i = 0; i < count; i++) {
      const i16x8 pair = (i16x8)load_splat_i32(q + i * FW_MAX_HEAD_DIM);
      for (uint32_t n = 0; n < vectors; n++) dot[i][n] += dot_i16x8(lane[n], pair);
    }
    q += 2;
  } while (q != end);
  for (uint32_t i = 0; i < count; i++) {
    const f32x4 scale = splat_f32(g->query_scale[i]);
    for (uint32_t n = 0; n < vectors; n++) {
      store_f32x4(&g->scores[i][key + 4 * n], to_f32x4(dot[i][n]) * (load_f32x4(scales + key + 4 * n) * scale));
    }
  }
}

/* Sum of the weights of a block, as codes: with the largest code of a value it stays below 2^31. */
#define WEIGHTS_SUM 65400.0f

/* Query i's probabilities times the scales of the values, as codes; only the first `used` keys have a scale. */
INLINE void encode_weights(query_group *g, uint32_t i, const float *scales, uint32_t used) {
  float *p = g->scores[i];
  f32x4 sum = splat_f32(0.0f), top = sum;
  for (uint32_t key = 0; key < KEY_BLOCK; key += 4) {
    store_f32x4(p + key, load_f32x4(p + key) * load_f32x4(scales + key));
  }
  for (uint32_t key = used; key < KEY_BLOCK; key++) p[key] = 0.0f;
  for (uint32_t key = 0; key < KEY_BLOCK; key += 4) {
    const f32x4 v = load_f32x4(p + key);
    sum += v;
    top = max_f32x4(v, top);
  }
  const float whole = sum_f32x4(sum), spread = whole / WEIGHTS_SUM, peak = max_of_f32x4(top) / LARGEST_CODE;
  const float scale = spread > peak ? spread : peak;
  const f32x4 inverse = splat_f32(scale < 1e-30f ? 0.0f : 1.0f / scale);
  for (uint32_t key = 0; key < KEY_BLOCK; key += 8) round_codes(p + key, inverse, g->weights[i] + key);
  g->weight_scale[i] = scale + whole * 0.0f; /* NaN when a value is not finite */
}

/* acc[i] = acc[i] * factor[i] + weights[i] . values, for elements d... of `used` keys. */
INLINE void accumulate_codes(query_group *g, uint32_t count, uint32_t vectors, uint32_t d, const uint8_t *values,
                             uint32_t used, uint32_t type) {
  const int16_t *w = g->weights[0], *const end = w + (used + 1) / 2 * 2;
  i32x4 dot[GROUP][4] = {0};
  i16x8 lane[4];
  values += KEY_BLOCK * d * element_bytes(type);
  do {
    OPAQUE(values);
    OPAQUE(w);
    for (uint32_t n = 0; n < vectors; n++) {
      lane[n] = cached_codes(values, KEY_BLOCK * (n / 2 * VALUE_LANES) + n % 2 * VALUE_LANES, type);
    }
    for (uint32_t i = 0; i < count; i++) {
      const i16x8 pair = (i16x8)load_splat_i32(w + i * KEY_BLOCK);
      for (uint32_t n = 0; n < vectors; n++) dot[i][n] += dot_i16x8(lane[n], pair);
    }
    values += 2 * VALUE_LANES * element_bytes(type);
    w += 2;
  } while (w != end);
  for (uint32_t i = 0; i < count; i++) {
    const f32x4 factor = splat_f32(g->factor[i]), scale = splat_f32(g->weight_scale[i]);
    for (uint32_t n = 0; n < vectors; n++) {
      float *acc = &g->acc[i][d + 4 * n];
      store_f32x4(acc, madd(to_f32x4(dot[i][n]), scale, load_f32x4(acc) * factor));
    }
  }
}
