/* Owns the products of attention over a cache of float32. */
#pragma once
#include "attention_group.h"

/* Scores of the keys in 4 * `vectors` lanes from `key` on. */
INLINE void score_floats(query_group *g, uint32_t count, uint32_t vectors, uint32_t key, const float *keys,
                         uint32_t dim) {
  const float *q = g->query[0], *const end = q + dim, *row[2];
  f32x4 acc[GROUP][4] = {0}, lane[4];
  for (uint32_t n = 0; n < vectors / 2; n++) row[n] = keys + (key + KEY_LANES * n) * dim;
  do {
    OPAQUE(q);
    for (uint32_t n = 0; n < vectors / 2; n++) {
      OPAQUE(row[n]);
      lane[2 * n] = load_f32x4(row[n]), lane[2 * n + 1] = load_f32x4(row[n] + 4);
      row[n] += KEY_LANES;
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

/* acc[i] = acc[i] * factor[i] + probabilities[i] . values, for elements d... of `used` keys. */
INLINE void accumulate_floats(query_group *g, uint32_t count, uint32_t vectors, uint32_t d, const float *values,
                              uint32_t used) {
  const float *p = g->scores[0], *const end = p + used;
  f32x4 sum[GROUP][4], lane[4];
  for (uint32_t i = 0; i < count; i++) {
    for (uint32_t n = 0; n < vectors; n++) sum[i][n] = load_f32x4(&g->acc[i][d + 4 * n]) * splat_f32(g->factor[i]);
  }
  values += KEY_BLOCK * d;
  do {
    OPAQUE(values);
    OPAQUE(p);
    for (uint32_t n = 0; n < vectors; n++) lane[n] = load_f32x4(values + KEY_BLOCK * (n / 2 * VALUE_LANES) + n % 2 * 4);
    for (uint32_t i = 0; i < count; i++) {
      const f32x4 weight = load_splat_f32(p + i * KEY_BLOCK);
      for (uint32_t n = 0; n < vectors; n++) sum[i][n] = madd(lane[n], weight, sum[i][n]);
    }
    values += VALUE_LANES;
    p++;
  } while (p != end);
  for (uint32_t i = 0; i < count; i++) {
    for (uint32_t n = 0; n < vectors; n++) store_f32x4(&g->acc[i][d + 4 * n], sum[i][n]);
  }
}
