/* Owns the layout of cached keys and values, and the conversion between their elements and float32.

   page, at layer_offset + head * head bytes: keys [FW_PAGE_TOKENS / 8][head_dim][8 tokens], values
   [FW_PAGE_TOKENS / 32][head_dim / 8][32 tokens][8]; 8-bit elements are followed by the scales of the keys, then of the
   values, float [FW_PAGE_TOKENS] each. Every pass of attention reads its part in order: memory is faster that way. */
#pragma once
#include "featherweight_kernels.h"
#include "float_math.h"

#define KEY_LANES 8
#define KEY_BLOCK 32 /* keys per step of the softmax */
#define VALUE_LANES 8

INLINE uint32_t element_bytes(uint32_t type) { return type == FW_KV_F32 ? 4 : type == FW_KV_F16 ? 2 : 1; }

INLINE uint32_t head_page_bytes(uint32_t head_dim, uint32_t type) {
  return 2 * FW_PAGE_TOKENS * (head_dim * element_bytes(type) + (type == FW_KV_I8 ? 4 : 0));
}

/* One head of the page that holds a slot. */
typedef struct {
  uint8_t *keys, *values;
  float *key_scales, *value_scales;
} kv_head_page;

INLINE kv_head_page head_page(const fw_kv_cache *cache, uint32_t slot, uint32_t head, uint32_t type) {
  const size_t side = (size_t)FW_PAGE_TOKENS * cache->head_dim * element_bytes(type);
  uint8_t *start = (uint8_t *)(uintptr_t)cache->pages[slot / FW_PAGE_TOKENS] + cache->layer_offset +
                   (size_t)head * head_page_bytes(cache->head_dim, type);
  float *scales = (float *)(start + 2 * side);
  return (kv_head_page){start, start + side, scales, scales + FW_PAGE_TOKENS};
}

/* Float16 bits are read as float32 bits, which is the number times 2^-112. Who multiplies them by HALF_GAIN and the sum
   of products by HALF_REST saves a multiplication for each element; the split keeps both factors in range. */
#define HALF_GAIN 0x1p100f
#define HALF_REST 0x1p12f

INLINE float gain_of(uint32_t type) { return type == FW_KV_F16 ? HALF_GAIN : 1.0f; }
INLINE float rest_of(uint32_t type) { return type == FW_KV_F16 ? HALF_REST : 1.0f; }

/* Eight elements from index i on: exact floats, float16 without its gain, or codes without their scale. */
INLINE void load_elements(const uint8_t *p, uint32_t i, uint32_t type, f32x4 *left, f32x4 *right) {
  if (type == FW_KV_F32) {
    *left = load_f32x4((const float *)p + i);
    *right = load_f32x4((const float *)p + i + 4);
  } else if (type == FW_KV_F16) {
    *left = load_f16x4_bits(p + 2 * i);
    *right = load_f16x4_bits(p + 2 * i + 8);
  } else {
    const i16x8 codes = load_i8x8_as_i16(p + i);
    *left = to_f32x4(low_i32x4(codes));
    *right = to_f32x4(high_i32x4(codes));
  }
}
