/* Featherweight's compute kernels: the manual.

   Freestanding C11: no libc, no allocation, no global state beside the plan that runs. One source, three WebAssembly
   builds (relaxed SIMD + threads, SIMD + threads, SIMD) and a native library for tests.

   Conventions
   - Numbers are float32, row-major; `*_stride` counts floats from one row to the next; "8-bit" means int8 codes.
   - A matrix product is y[rows][columns] = x[rows][inner] * w[columns][inner]^T + bias[columns]; bias may be null.
   - `begin`, `end` select groups of 8 columns, so that threads can share one product.
   - Weights that are floats are multiplied as blocks of 16-bit codes too (fw_repack_floats): products in 16-bit lanes
     are 1.4 times as fast as fused float32 ones and read half the memory. A result differs from float32's by 5e-5 of
     its typical size, which is between float32 and the 10 bits of TF32.
   - Callers check sizes and bounds before they enter a kernel; kernels trust their arguments.
   - Infinite or NaN activations make the block's results NaN; nothing traps. */
#pragma once
#include <stdint.h>

#if defined(__wasm__)
#define EXPORT
#else
#define EXPORT __attribute__((visibility("default")))
#endif

/* ---- weights (layouts: matmul_nbits.h) */

/* How a weight follows from its code: scale * (code - 2^(bits - 1)); scale * code + offset (4 bits only); or
   scale * (code - zero point). */
enum { FW_SYMMETRIC, FW_OFFSETS, FW_ZERO_POINTS };

/* Bytes of one packed block of 8 columns x 32 inner; a matrix takes ceil(columns / 8) * ceil(inner / 32) of them, and
   has to be zero before it is filled. */
uint32_t fw_packed_block_bytes(uint32_t bits, uint32_t affine);

/* Codes of MatMulNBits [rows][source_blocks][4 * bits bytes], 32 codes a block, to columns first_row... of `packed`;
   source_blocks >= blocks. 4-bit codes: the even element is the low nibble. */
void fw_repack_codes(const uint8_t *codes, uint32_t source_blocks, uint32_t rows, uint32_t first_row, uint8_t *packed,
                     uint32_t blocks, uint32_t bits, uint32_t affine);

/* Scales (or offsets) float16 [rows][source_blocks], each for `repeat` blocks of 32. Returns 0 when one is not
   finite. */
uint32_t fw_repack_scales(const uint16_t *scales, uint32_t source_blocks, uint32_t repeat, uint32_t rows,
                          uint32_t first_row, uint8_t *packed, uint32_t blocks, uint32_t bits, uint32_t affine,
                          uint32_t is_offset);

/* Zero points of MatMulNBits, uint8 [rows][source_blocks], or of 4 bits [rows][ceil(source_blocks / 2)], the first in the
   low nibble; each for `repeat` blocks of 32. */
void fw_repack_zero_points(const uint8_t *points, uint32_t source_blocks, uint32_t repeat, uint32_t rows,
                           uint32_t first_row, uint8_t *packed, uint32_t blocks, uint32_t bits);

/* Floats to 16-bit blocks: source element (r, k) lies at r * row_stride + k * column_stride and becomes column
   first_row + r, inner first_inner + k. A block that comes in parts is rounded again with each. Returns 0 when a number
   is not finite. */
uint32_t fw_repack_floats(const float *source, uint32_t row_stride, uint32_t column_stride, uint32_t rows,
                          uint32_t first_row, uint32_t columns, uint32_t first_inner, uint8_t *packed, uint32_t blocks);

void fw_widen_f16(const uint16_t *source, float *target, uint32_t count);

/* ---- weights, native library only: the converter */

enum { FW_F32, FW_F16, FW_BF16 };
enum { FW_NOT_FINITE = 1, FW_TOO_LARGE = 2 };

/* 1 when this processor can run the library, which is built for x86-64 with AVX2; to be asked before anything else. */
uint32_t fw_machine_is_supported(void);

/* rows [rows][width] of FW_F32, FW_F16 or FW_BF16 to codes [rows][blocks][block_size * bits / 8] (bits 4: the even
   element is the low nibble; bits 8) and float16 scales [rows][blocks], blocks = ceil(width / block_size), the last one
   padded with zeros; block_size is a multiple of 8, at most 2048. w is about scale * (code - 2^(bits - 1)). Returns 0, or
   FW_NOT_FINITE or FW_TOO_LARGE when a weight is NaN, infinite or too large for a float16 scale; codes and scales mean
   nothing then. */
uint32_t fw_quantize_weights(const void *source, uint32_t type, uint32_t rows, uint32_t width, uint32_t bits,
                             uint32_t block_size, uint8_t *codes, uint16_t *scales);

/* ---- matrix products */

/* Bytes that 32 quantized activations take at most. */
uint32_t fw_activation_block_bytes(void);

/* Rows begin..end of x [rows][width] to 16-bit codes, in the order in which weights of `bits` and products of so many rows
   read them (matmul_nbits.h). `blocks` has room for rows * ceil(width / 32) blocks. */
void fw_quantize_rows(const float *x, uint32_t x_stride, uint8_t *blocks, uint32_t rows, uint32_t width, uint32_t bits,
                      uint32_t begin, uint32_t end);

void fw_matmul_q4(const uint8_t *w, uint32_t affine, const uint8_t *a, uint32_t rows, uint32_t blocks, uint32_t begin,
                  uint32_t end, uint32_t columns, const float *bias, float *y, uint32_t y_stride);
void fw_matmul_q8(const uint8_t *w, uint32_t affine, const uint8_t *a, uint32_t rows, uint32_t blocks, uint32_t begin,
                  uint32_t end, uint32_t columns, const float *bias, float *y, uint32_t y_stride);
void fw_matmul_q16(const uint8_t *w, const uint8_t *a, uint32_t rows, uint32_t blocks, uint32_t begin, uint32_t end,
                   uint32_t columns, const float *bias, float *y, uint32_t y_stride);

/* ---- rows */

/* y[r] = row ids[r] of a packed 4-bit or 8-bit matrix, or of a float table [..][width]. */
void fw_gather_q4(const uint8_t *packed, uint32_t affine, uint32_t blocks, const uint32_t *ids, uint32_t rows,
                  uint32_t width, float *y, uint32_t y_stride);
void fw_gather_q8(const uint8_t *packed, uint32_t blocks, const uint32_t *ids, uint32_t rows, uint32_t width, float *y,
                  uint32_t y_stride);
void fw_gather_f32(const float *table, const uint32_t *ids, uint32_t rows, uint32_t width, float *y, uint32_t y_stride);

/* y = normalized(x + skip + skip_bias) * weight + bias over the last axis; RMSNorm, or LayerNorm when `centered`.
   skip, skip_bias, bias and total may be null; total [rows][width] receives the sum. y and total are contiguous. */
void fw_normalize(const float *x, uint32_t x_stride, const float *skip, uint32_t skip_stride, const float *skip_bias,
                  const float *weight, const float *bias, float *y, float *total, uint32_t rows, uint32_t width,
                  float epsilon, uint32_t centered);

/* FW_SCALE: factor * a. FW_QUICK_GELU: a * sigmoid(factor * a), SiLU when factor is 1. FW_GELU is the exact form,
   FW_GELU_TANH its approximation by tanh. FW_SOFT_CAP: factor * tanh(a / factor). FW_CLIP: a within +-factor. Of b only FW_ADD, FW_SUB and FW_MUL
   read, and every function with FW_GATED added: its result times b. */
enum { FW_COPY, FW_ADD, FW_SUB, FW_MUL, FW_SCALE, FW_RELU, FW_QUICK_GELU, FW_GELU, FW_GELU_TANH, FW_SOFT_CAP, FW_CLIP };
#define FW_GATED 16

/* y[r] = function(a[r], b[r]); a stride of 0 repeats one row. y is contiguous. */
void fw_elementwise(uint32_t function, float factor, const float *a, uint32_t a_stride, const float *b,
                    uint32_t b_stride, float *y, uint32_t rows, uint32_t width);

/* ---- attention */

#define FW_PAGE_TOKENS 256
#define FW_MAX_HEAD_DIM 256

/* What the cache holds: float32, or 16-bit or 8-bit codes with a scale per token and head. */
enum { FW_KV_F32, FW_KV_I16, FW_KV_I8 };

/* A cache in pages of FW_PAGE_TOKENS slots, so that it grows without moving. A page holds, at layer_offset, for each
   head fw_kv_head_bytes; kv_cache.h has the layout. head_dim is a multiple of 8. */
typedef struct {
  const uintptr_t *pages;
  uint32_t layer_offset, head_dim, type;
} fw_kv_cache;

uint32_t fw_kv_head_bytes(uint32_t head_dim, uint32_t type);

/* Rotate the first rotary_dim elements of every head of q and k in place (rotary embedding in halves; tables
   [positions][rotary_dim / 2], null for none) and store k and v in the slot of each row. */
void fw_append_kv(const fw_kv_cache *cache, float *q, uint32_t q_stride, float *k, uint32_t k_stride, const float *v,
                  uint32_t v_stride, const float *cosine, const float *sine, uint32_t rotary_dim,
                  const uint32_t *positions, const uint32_t *slots, uint32_t rows, uint32_t heads, uint32_t kv_heads);

/* Consecutive rows of one sequence and the slots that they see: `keys` from key_base (a multiple of 32) on. The last row
   sees all of them, with `causal` each row before it one less; with a `window` only the last so many. Scores are
   (q . k) * scale, and softcap * tanh(score / softcap) when softcap is not 0; bias, null for none, adds to the score of
   head h bias[h][d + bias_width / 2], where d is how far the key stands behind the query. The first row is number
   `position` of its sequence; what lies within FW_BIAS_MARGIN of either end of the table stands for all beyond. */
#define FW_BIAS_MARGIN 32
typedef struct {
  uint32_t rows, heads_per_kv, key_base, keys, causal, window;
  float scale, softcap;
  uint32_t position, bias_width;
  const float *bias;
} fw_attention;

/* Attention of the query heads of one KV head, over all keys when partials is null. Otherwise over one of
   fw_attend_ranges pages of them, with the result in partials: [ranges][rows * heads_per_kv][head_dim +
   FW_PARTIAL_EXTRA] floats, from which fw_combine_ranges makes y. */
#define FW_PARTIAL_EXTRA 2
uint32_t fw_attend_ranges(const fw_attention *attention);
void fw_attend(const fw_kv_cache *cache, const fw_attention *attention, uint32_t kv_head, const float *q,
               uint32_t q_stride, float *y, uint32_t y_stride, uint32_t range, float *partials);
void fw_combine_ranges(const fw_attention *attention, uint32_t kv_head, uint32_t head_dim, uint32_t ranges,
                       float *partials, float *y, uint32_t y_stride);

/* ---- measuring */

/* Sum of `count` words (a multiple of 16, at an address that is one of 16), read once in order and used for nothing. */
uint32_t fw_read_sum(const uint32_t *words, uint32_t count);
