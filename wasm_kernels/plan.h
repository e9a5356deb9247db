/* Owns the form in which a lowered graph lies in memory: steps of 28 words, run over rows by any number of threads.
   static/engine/plan_format.js writes the same words. */
#pragma once
#include <stdint.h>

enum {
  FW_OP_GATHER_F32,
  FW_OP_GATHER_Q8,
  FW_OP_NORMALIZE,
  FW_OP_QUANTIZE,
  FW_OP_MATMUL_Q4,
  FW_OP_MATMUL_Q8,
  FW_OP_MATMUL_Q16,
  FW_OP_APPEND_KV,
  FW_OP_ATTEND,
  FW_OP_ELEMENTWISE,
  FW_OP_GATHER_Q4,
};

/* Which rows a step works on: all of the run, the last ones (logits), or the first of each sequence (classifiers). */
enum { FW_ROWS_ALL, FW_ROWS_LAST, FW_ROWS_FIRST, FW_ROWS_KINDS };

typedef struct {
  uint32_t op, rows_kind;
  uint32_t mode; /* function, bits, affine, centered or what is seen, as the operator's kernel reads it */
  uintptr_t input;
  uint32_t input_stride;
  uintptr_t second; /* ids, skip, keys, or b */
  uint32_t second_stride;
  uintptr_t weight, bias; /* bias of attention: [heads][width], by distance */
  uintptr_t third; /* skip_bias or values */
  uint32_t third_stride;
  uintptr_t output;
  uint32_t output_stride;
  uintptr_t total;
  uint32_t width, columns;
  uint32_t heads; /* of attention; a norm works on each of them alone */
  uint32_t kv_heads, head_dim, kv_type, layer_offset;
  float scale; /* epsilon, the factor of attention scores, or that of an elementwise function */
  float softcap;
  uint32_t window, rotary_dim;
  uintptr_t cosine, sine;
  uint32_t joined; /* whether its chunks run with those of the step before, each right after the same rows there */
} fw_step;

/* What the rows of an attention step see, its mode: all of their own sequence, that up to themselves, or all of the text
   that an encoder read, whose keys and values lie from slot 0 on. */
enum { FW_SEES_ALL, FW_SEES_PAST, FW_SEES_TEXT };

/* A run of consecutive rows of one sequence, for attention; the first is number `position` of it. */
typedef struct {
  uint32_t first_row, rows, key_base, keys, position, text_keys;
} fw_tile;

/* How far a step has come in the run that is under way: the words that threads hand to each other lie in one cache line
   for each step. */
typedef struct {
  uint64_t claim; /* epoch, and chunks that were taken */
  uint32_t total, finished;
  uint32_t apart[12];
} fw_progress;

typedef struct {
  uint32_t epoch; /* counts runs; workers sleep on it */
  uint32_t begin, end, threads, stop, sleepers;
  uint32_t rows[FW_ROWS_KINDS];
  uint32_t tile_count;
  uintptr_t steps, progress;                /* [steps] of fw_step and fw_progress */
  uintptr_t positions, slots, pages, tiles; /* [rows], [rows], [pages], [tile_count] */
  /* Attention of one tile over ranges of keys: floats [kv_heads][partial_floats], and uint32_t [kv_heads] at 0. */
  uintptr_t partials, arrivals;
  uint32_t partial_floats;
} fw_plan;

uint32_t fw_step_chunks(const fw_plan *plan, const fw_step *step);
/* The chunk of a step and of those that are joined to it, of which `after` is the first that is not. */
void fw_steps_run(const fw_plan *plan, const fw_step *step, const fw_step *after, uint32_t chunk);

/* Run steps begin..end over the rows that the plan names; returns when all are done. */
void fw_plan_run(fw_plan *plan, uint32_t begin, uint32_t end);

/* Help with every run until plan->stop; for worker threads, on a stack of their own. They are numbered from 1 (0 is the
   caller of fw_plan_run); those from plan->threads on sleep until that word is changed between runs, and notified. */
void fw_worker_loop(fw_plan *plan, uint32_t number);
