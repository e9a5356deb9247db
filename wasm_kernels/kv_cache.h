/* Owns the layout of cached keys and values.

   page, at layer_offset + head * head bytes: the keys, then the values, in blocks of 32 tokens. A block has, where they
   are codes, the 32 scales of its tokens, float, and then
   float32: keys [4][head_dim][8 tokens], values [head_dim / 8][32 tokens][8]
   codes, as dot_i16x8 takes them in pairs: keys [4][head_dim / 2][8 tokens][2], values [head_dim / 8][16][8][2 tokens]
   Every pass of attention reads its part in order: memory is faster that way. */
#pragma once
#include "featherweight_kernels.h"

#define KEY_LANES 8
#define KEY_BLOCK 32 /* keys per step of the softmax */
#define VALUE_LANES 8

INLINE uint32_t element_bytes(uint32_t type) { return type == FW_KV_F32 ? 4 : type == FW_KV_I16 ? 2 : 1; }

INLINE uint32_t scale_bytes(uint32_t type) { return type == FW_KV_F32 ? 0 : sizeof(float); }

INLINE uint32_t kv_block_bytes(uint32_t head_dim, uint32_t type) {
  return KEY_BLOCK * (head_dim * element_bytes(type) + scale_bytes(type));
}

/* One head of the block that holds a slot. */
typedef struct {
  uint8_t *keys, *values;
  float *key_scales, *value_scales;
} kv_block;

INLINE kv_block block_of(const fw_kv_cache *cache, uint32_t slot, uint32_t head, uint32_t type) {
  const size_t bytes = kv_block_bytes(cache->head_dim, type), scales = KEY_BLOCK * scale_bytes(type);
  uint8_t *start = (uint8_t *)(uintptr_t)cache->pages[slot / FW_PAGE_TOKENS] + cache->layer_offset +
                   (head * FW_PAGE_TOKENS + slot % FW_PAGE_TOKENS) / KEY_BLOCK * 2 * bytes;
  return (kv_block){start + scales, start + bytes + scales, (float *)start, (float *)(start + bytes)};
}
