/* One step of a plan: how many chunks it has, and the kernel call behind a chunk. */
#include "featherweight_kernels.h"
#include "plan.h"
#include "simd.h"

#define ROWS_PER_CHUNK 4
#define CHUNKS_PER_THREAD 4 /* enough to even threads out, few enough that claiming stays cheap */

static uint32_t min_u32(uint32_t a, uint32_t b) { return a < b ? a : b; }

static uint32_t groups_per_chunk(const fw_plan *plan, const fw_step *step) {
  const uint32_t groups = (step->columns + 7) / 8, parts = plan->threads * CHUNKS_PER_THREAD;
  if (plan->threads == 1) return groups;
  const uint32_t chunk = (groups + parts - 1) / parts;
  return (chunk + 3) & ~3u; /* whole quarters for the four streams of one row */
}

static int is_matmul(const fw_step *step) { return step->op >= FW_OP_MATMUL_Q4 && step->op <= FW_OP_MATMUL_F32; }

uint32_t fw_step_chunks(const fw_plan *plan, const fw_step *step) {
  const uint32_t rows = plan->rows[step->rows_kind];
  if (rows == 0) return 0;
  if (step->op == FW_OP_ATTEND) return plan->tile_count * step->kv_heads;
  if (!is_matmul(step)) return (rows + ROWS_PER_CHUNK - 1) / ROWS_PER_CHUNK;
  const uint32_t chunk = groups_per_chunk(plan, step);
  return ((step->columns + 7) / 8 + chunk - 1) / chunk;
}

static void run_matmul(const fw_plan *plan, const fw_step *s, uint32_t chunk) {
  const uint32_t rows = plan->rows[s->rows_kind], size = groups_per_chunk(plan, s), blocks = (s->width + 31) / 32;
  const uint32_t begin = chunk * size, end = min_u32(begin + size, (s->columns + 7) / 8);
  const float *bias = (const float *)s->bias;
  float *y = (float *)s->output;
  const uint8_t *w = (const uint8_t *)s->weight, *a = (const uint8_t *)s->input;
  if (s->op == FW_OP_MATMUL_Q4) {
    fw_matmul_q4(w, s->mode, a, rows, blocks, begin, end, s->columns, bias, y, s->output_stride);
  } else if (s->op == FW_OP_MATMUL_Q8) {
    fw_matmul_q8(w, a, rows, blocks, begin, end, s->columns, bias, y, s->output_stride);
  } else {
    fw_matmul_f32((const float *)s->weight, (const float *)s->input, s->input_stride, rows, s->width, begin, end,
                  s->columns, bias, y, s->output_stride);
  }
}

static void run_attention(const fw_plan *plan, const fw_step *s, uint32_t chunk) {
  const fw_tile *tile = (const fw_tile *)plan->tiles + chunk / s->kv_heads;
  const fw_kv_cache cache = {(const uintptr_t *)plan->pages, s->layer_offset, s->head_dim, s->half};
  fw_attend(&cache, chunk % s->kv_heads, (const float *)s->input + (size_t)tile->first_row * s->input_stride,
            s->input_stride, (float *)s->output + (size_t)tile->first_row * s->output_stride, s->output_stride,
            tile->rows, s->heads / s->kv_heads, tile->key_base, tile->keys, s->mode, s->scale);
}

void fw_step_run(const fw_plan *plan, const fw_step *s, uint32_t chunk) {
  if (is_matmul(s)) {
    run_matmul(plan, s, chunk);
    return;
  }
  if (s->op == FW_OP_ATTEND) {
    run_attention(plan, s, chunk);
    return;
  }
  const uint32_t first = chunk * ROWS_PER_CHUNK, rows = min_u32(ROWS_PER_CHUNK, plan->rows[s->rows_kind] - first);
  float *input = (float *)s->input + (size_t)first * s->input_stride;
  float *second = s->second ? (float *)s->second + (size_t)first * s->second_stride : 0;
  float *output = (float *)s->output + (size_t)first * s->output_stride;
  switch (s->op) {
    case FW_OP_GATHER_F32:
      fw_gather_f32((const float *)s->weight, (const uint32_t *)s->input + first, rows, s->width, output,
                    s->output_stride);
      break;
    case FW_OP_GATHER_Q8:
      fw_gather_q8((const uint8_t *)s->weight, (s->width + 31) / 32, (const uint32_t *)s->input + first, rows, s->width,
                   output, s->output_stride);
      break;
    case FW_OP_NORMALIZE:
      fw_normalize(input, s->input_stride, second, s->second_stride, (const float *)s->third, (const float *)s->weight,
                   (const float *)s->bias, output, s->total ? (float *)s->total + (size_t)first * s->width : 0, rows,
                   s->width, s->scale, s->mode);
      break;
    case FW_OP_QUANTIZE: {
      const size_t row_bytes = (size_t)((s->width + 31) / 32) * fw_activation_block_bytes();
      fw_quantize_rows(input, s->input_stride, (uint8_t *)s->output + first * row_bytes, rows, s->width, s->mode);
      break;
    }
    case FW_OP_APPEND_KV: {
      const fw_kv_cache cache = {(const uintptr_t *)plan->pages, s->layer_offset, s->head_dim, s->half};
      fw_append_kv(&cache, input, s->input_stride, second, s->second_stride,
                   (const float *)s->third + (size_t)first * s->third_stride, s->third_stride, (const float *)s->cosine,
                   (const float *)s->sine, (const uint32_t *)plan->positions + first,
                   (const uint32_t *)plan->slots + first, rows, s->heads, s->kv_heads);
      break;
    }
    default:
      fw_elementwise(s->mode, input, s->input_stride, second, s->second_stride, output, rows, s->width);
  }
}
