/* Owns the queries that share one pass over keys and values, and what is summed for them. */
#pragma once
#include "distance_bias.h"
#include "kv_cache.h"

#define GROUP 4 /* queries per pass */

typedef struct {
  float query[GROUP][FW_MAX_HEAD_DIM], acc[GROUP][FW_MAX_HEAD_DIM];
  float scores[GROUP][KEY_BLOCK]; /* of a block of keys, then their probabilities relative to `maximum` */
  float maximum[GROUP], total[GROUP], factor[GROUP];
  uint32_t begin[GROUP], end[GROUP]; /* the keys that a query sees */
  distance_bias bias[GROUP];
  /* For a cache of codes: the queries and the weights of a block's values as codes too. */
  int16_t query_codes[GROUP][FW_MAX_HEAD_DIM], weights[GROUP][KEY_BLOCK];
  float query_scale[GROUP], weight_scale[GROUP];
} query_group;

/* Vectors of 4 that a pass handles at once: the queries' sums and factors have to fit 15 registers beside them. */
INLINE uint32_t lanes_of(uint32_t count) { return count > 2 ? 2 : 4; }

/* The functions over lanes of keys and values stay loops over pointers of their own: see OPAQUE, and matmul_tile.h. */
