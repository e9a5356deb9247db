/* One step of a plan: how many chunks it has, and the kernel call behind a chunk. */
#include "featherweight_kernels.h"
#include "plan.h"
#include "simd.h"

#define ROWS_PER_CHUNK 4

static uint32_t min_u32(uint32_t a, uint32_t b) { return a < b ? a : b; }

/* How the columns of a product are cut among threads, in groups of 8: each thread finds one long chunk, and short ones
   behind them even out who was faster. A chunk costs a claim and the first reads of a new place in the weights. */
typedef struct {
  uint32_t groups, longs, long_groups, short_groups;
} column_cut;

static uint32_t divide_up(uint32_t x, uint32_t by) { return (x + by - 1) / by; }

static column_cut cut_columns(const fw_plan *plan, const fw_step *step) {
  const uint32_t groups = divide_up(step->columns, 8), threads = plan->threads;
  if (threads == 1) return (column_cut){groups, 1, groups, 1};
  /* Kernels take two groups at a time. Of the columns 3/4 are in the long chunks. */
  return (column_cut){groups, threads, 2 * divide_up(3 * groups, 8 * threads), 2 * divide_up(groups, 16 * threads)};
}

static uint32_t chunks_of(const column_cut *cut) {
  const uint32_t in_longs = cut->longs * cut->long_groups;
  if (in_longs >= cut->groups) return divide_up(cut->groups, cut->long_groups);
  return cut->longs + divide_up(cut->groups - in_longs, cut->short_groups);
}

/* The first group of a chunk, or the end of the last one. */
static uint32_t first_group(const column_cut *cut, uint32_t chunk) {
  const uint32_t longs = min_u32(chunk, cut->longs);
  return min_u32(cut->groups, longs * cut->long_groups + (chunk - longs) * cut->short_groups);
}

static int is_matmul(const fw_step *step) { return step->op >= FW_OP_MATMUL_Q4 && step->op <= FW_OP_MATMUL_Q16; }

static void run_matmul(const fw_plan *plan, const fw_step *s, uint32_t chunk) {
  const uint32_t rows = plan->rows[s->rows_kind], blocks = (s->width + 31) / 32;
  const column_cut cut = cut_columns(plan, s);
  const uint32_t begin = first_group(&cut, chunk), end = first_group(&cut, chunk + 1);
  const float *bias = (const float *)s->bias;
  float *y = (float *)s->output;
  const uint8_t *w = (const uint8_t *)s->weight, *a = (const uint8_t *)s->input;
  if (s->op == FW_OP_MATMUL_Q4) {
    fw_matmul_q4(w, s->mode, a, rows, blocks, begin, end, s->columns, bias, y, s->output_stride);
  } else if (s->op == FW_OP_MATMUL_Q8) {
    fw_matmul_q8(w, s->mode, a, rows, blocks, begin, end, s->columns, bias, y, s->output_stride);
  } else {
    fw_matmul_q16(w, a, rows, blocks, begin, end, s->columns, bias, y, s->output_stride);
  }
}

static fw_kv_cache cache_of(const fw_plan *plan, const fw_step *s) {
  return (fw_kv_cache){(const uintptr_t *)plan->pages, s->layer_offset, s->head_dim, s->kv_type};
}

static fw_attention attention_of(const fw_step *s, const fw_tile *tile) {
  const uint32_t over_text = s->mode == FW_SEES_TEXT;
  return (fw_attention){
      .rows = tile->rows,
      .heads_per_kv = s->heads / s->kv_heads,
      .key_base = over_text ? 0 : tile->key_base,
      .keys = over_text ? tile->text_keys : tile->keys,
      .causal = s->mode == FW_SEES_PAST,
      .window = s->window,
      .scale = s->scale,
      .softcap = s->softcap,
      .position = tile->position,
      .bias_width = s->width,
      .bias = (const float *)s->bias,
  };
}

/* A single tile, as in decoding, leaves threads idle: it is cut along the keys too. The cut depends on nothing but the
   tile, so any number of threads gives the same bits. */
static uint32_t attention_ranges(const fw_plan *plan, const fw_step *s) {
  if (plan->tile_count != 1) return 1;
  const fw_attention attention = attention_of(s, (const fw_tile *)plan->tiles);
  return fw_attend_ranges(&attention);
}

uint32_t fw_step_chunks(const fw_plan *plan, const fw_step *step) {
  const uint32_t rows = plan->rows[step->rows_kind];
  if (rows == 0) return 0;
  if (step->op == FW_OP_ATTEND) return plan->tile_count * step->kv_heads * attention_ranges(plan, step);
  if (!is_matmul(step)) return (rows + ROWS_PER_CHUNK - 1) / ROWS_PER_CHUNK;
  const column_cut cut = cut_columns(plan, step);
  return chunks_of(&cut);
}

static void run_attention(const fw_plan *plan, const fw_step *s, uint32_t chunk) {
  const uint32_t ranges = attention_ranges(plan, s), range = chunk % ranges, head = chunk / ranges % s->kv_heads;
  const fw_tile *tile = (const fw_tile *)plan->tiles + chunk / ranges / s->kv_heads;
  const fw_kv_cache cache = cache_of(plan, s);
  const fw_attention attention = attention_of(s, tile);
  float *y = (float *)s->output + (size_t)tile->first_row * s->output_stride;
  float *partials = ranges == 1 ? 0 : (float *)plan->partials + (size_t)head * plan->partial_floats;
  fw_attend(&cache, &attention, head, (const float *)s->input + (size_t)tile->first_row * s->input_stride,
            s->input_stride, y, s->output_stride, range, partials);
  if (!partials) return;
  /* Who finishes last combines. */
  uint32_t *arrivals = (uint32_t *)plan->arrivals + head;
  if (__atomic_add_fetch(arrivals, 1, __ATOMIC_SEQ_CST) < ranges) return;
  __atomic_store_n(arrivals, 0, __ATOMIC_SEQ_CST);
  fw_combine_ranges(&attention, head, s->head_dim, ranges, partials, y, s->output_stride);
}

/* The same norm for every head of a row. */
static void normalize_heads(const fw_step *s, const float *input, float *output, uint32_t rows) {
  const uint32_t width = s->width / s->heads;
  for (uint32_t r = 0; r < rows; r++, input += s->input_stride, output += s->output_stride) {
    fw_normalize(input, width, 0, 0, 0, (const float *)s->weight, (const float *)s->bias, output, 0, s->heads, width,
                 s->scale, s->mode);
  }
}

static void run_step(const fw_plan *plan, const fw_step *s, uint32_t chunk) {
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
    case FW_OP_GATHER_Q4:
      fw_gather_q4((const uint8_t *)s->weight, s->mode, (s->width + 31) / 32, (const uint32_t *)s->input + first, rows,
                   s->width, output, s->output_stride);
      break;
    case FW_OP_NORMALIZE:
      if (s->heads > 1) {
        normalize_heads(s, input, output, rows);
        break;
      }
      fw_normalize(input, s->input_stride, second, s->second_stride, (const float *)s->third, (const float *)s->weight,
                   (const float *)s->bias, output, s->total ? (float *)s->total + (size_t)first * s->width : 0, rows,
                   s->width, s->scale, s->mode);
      break;
    case FW_OP_QUANTIZE:
      fw_quantize_rows((const float *)s->input, s->input_stride, (uint8_t *)s->output, plan->rows[s->rows_kind], s->width,
                       s->mode, first, first + rows);
      break;
    case FW_OP_APPEND_KV: {
      const fw_kv_cache cache = cache_of(plan, s);
      fw_append_kv(&cache, input, s->input_stride, second, s->second_stride,
                   (const float *)s->third + (size_t)first * s->third_stride, s->third_stride, (const float *)s->cosine,
                   (const float *)s->sine, s->rotary_dim, (const uint32_t *)plan->positions + first,
                   (const uint32_t *)plan->slots + first, rows, s->heads, s->kv_heads);
      break;
    }
    default:
      fw_elementwise(s->mode, s->scale, input, s->input_stride, second, s->second_stride, output, rows, s->width);
  }
}

void fw_steps_run(const fw_plan *plan, const fw_step *step, const fw_step *after, uint32_t chunk) {
  for (; step < after; step++) run_step(plan, step, chunk);
}
