/* Owns the bias that scores of attention get by how far a key stands behind its query (T5: Raffel et al. 2020, 2.1). */
#pragma once
#include "featherweight_kernels.h"
#include "simd.h"

#define BIASED_KEYS FW_BIAS_MARGIN /* keys that get theirs at once */

/* Of one query: its head's table, null for none, and the index of the distance of key 0. */
typedef struct {
  const float *table;
  int32_t first, last_start;
} distance_bias;

INLINE distance_bias distance_bias_of(const fw_attention *a, uint32_t head, uint32_t row) {
  const float *table = a->bias ? a->bias + (size_t)head * a->bias_width : 0;
  const int32_t middle = (int32_t)(a->bias_width / 2);
  return (distance_bias){table, middle - (int32_t)(a->position + row), (int32_t)a->bias_width - BIASED_KEYS};
}

/* The margins of the table hold what lies beyond it, so that any BIASED_KEYS keys find theirs side by side. */
INLINE void add_distance_bias(const distance_bias *bias, uint32_t key, float *scores) {
  int32_t start = bias->first + (int32_t)key;
  start = start < 0 ? 0 : start > bias->last_start ? bias->last_start : start;
  for (uint32_t i = 0; i < BIASED_KEYS; i += 4) {
    store_f32x4(scores + i, load_f32x4(scores + i) + load_f32x4(bias->table + start + i));
  }
}
