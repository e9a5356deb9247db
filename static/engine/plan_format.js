/** Owns the words of a plan in memory, as wasm_kernels/plan.h declares them for 32-bit addresses. */

export const OP = Object.freeze({
  GATHER_F32: 0,
  GATHER_Q8: 1,
  NORMALIZE: 2,
  QUANTIZE: 3,
  MATMUL_Q4: 4,
  MATMUL_Q8: 5,
  MATMUL_F32: 6,
  APPEND_KV: 7,
  ATTEND: 8,
  ELEMENTWISE: 9,
});

export const ROWS = Object.freeze({ ALL: 0, LAST: 1, FIRST: 2 });

export const FUNCTION = Object.freeze({ COPY: 0, ADD: 1, MUL: 2, SILU: 3, SILU_MUL: 4, GELU: 5, RELU: 6 });

/** Fields of fw_step in order; "scale" is a float, the others are unsigned integers. */
export const STEP_FIELDS = Object.freeze([
  "op",
  "rowsKind",
  "mode",
  "input",
  "inputStride",
  "second",
  "secondStride",
  "weight",
  "bias",
  "third",
  "thirdStride",
  "output",
  "outputStride",
  "total",
  "width",
  "columns",
  "heads",
  "kvHeads",
  "headDim",
  "half",
  "layerOffset",
  "scale",
  "cosine",
  "sine",
]);

/** Word of each field of fw_plan. */
export const PLAN = Object.freeze({
  EPOCH: 0,
  THREADS: 3,
  STOP: 4,
  ROWS: 6,
  TILE_COUNT: 9,
  STEPS: 10,
  CLAIMS: 11,
  TOTALS: 12,
  FINISHED: 13,
  POSITIONS: 14,
  SLOTS: 15,
  PAGES: 16,
  TILES: 17,
  WORDS: 18,
});

export const TILE_WORDS = 4;
export const PAGE_TOKENS = 256;
/** A sequence starts at a multiple of this many slots. */
export const SLOT_ALIGNMENT = 32;
export const MAX_HEAD_DIM = 256;
/** Rows that one attention job takes. */
export const TILE_ROWS = 8;
