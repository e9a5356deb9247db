/** Owns the words of a plan in memory, as wasm_kernels/plan.h declares them for 32-bit addresses. */

export const OP = Object.freeze({
  GATHER_F32: 0,
  GATHER_Q8: 1,
  NORMALIZE: 2,
  QUANTIZE: 3,
  MATMUL_Q4: 4,
  MATMUL_Q8: 5,
  MATMUL_Q16: 6,
  APPEND_KV: 7,
  ATTEND: 8,
  ELEMENTWISE: 9,
  GATHER_Q4: 10,
});

/** How a weight follows from its code; the mode of products and lookups. */
export const AFFINE = Object.freeze({ SYMMETRIC: 0, OFFSETS: 1, ZERO_POINTS: 2 });

export const ROWS = Object.freeze({ ALL: 0, LAST: 1, FIRST: 2 });

export const FUNCTION = Object.freeze({
  COPY: 0,
  ADD: 1,
  SUB: 2,
  MUL: 3,
  SCALE: 4,
  RELU: 5,
  QUICK_GELU: 6,
  GELU: 7,
  GELU_TANH: 8,
  SOFT_CAP: 9,
  CLIP: 10,
});
/** Added to a function whose result is multiplied by the second operand. */
export const GATED = 16;

/** What the rows of an attention step see: all of their sequence, that up to themselves, or the text of an encoder. */
export const SEES = Object.freeze({ ALL: 0, PAST: 1, TEXT: 2 });

/** What the KV cache holds. */
export const KV_TYPE = Object.freeze({ F32: 0, I16: 1, I8: 2 });

/** Fields of fw_step in order; those of FLOAT_FIELDS are floats, the others unsigned integers. */
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
  "kvType",
  "layerOffset",
  "scale",
  "softcap",
  "window",
  "rotaryDim",
  "cosine",
  "sine",
  "joined",
]);
export const FLOAT_FIELDS = Object.freeze(["scale", "softcap"]);

/** Word of each field of fw_plan. */
export const PLAN = Object.freeze({
  EPOCH: 0,
  THREADS: 3,
  STOP: 4,
  ROWS: 6,
  TILE_COUNT: 9,
  STEPS: 10,
  PROGRESS: 11,
  POSITIONS: 12,
  SLOTS: 13,
  PAGES: 14,
  TILES: 15,
  PARTIALS: 16,
  ARRIVALS: 17,
  PARTIAL_FLOATS: 18,
  WORDS: 19,
});

/** Of fw_progress. */
export const PROGRESS_BYTES = 64;
export const TILE_WORDS = 6;
export const PAGE_TOKENS = 256;
/** A sequence starts at a multiple of this many slots. */
export const SLOT_ALIGNMENT = 32;
export const MAX_HEAD_DIM = 256;
/** Entries at both ends of a bias by distance that stand for all beyond. */
export const BIAS_MARGIN = 32;
/** Floats that a query over a range of keys leaves beside its head. */
export const PARTIAL_EXTRA = 2;
/** Rows that one attention job takes. */
export const TILE_ROWS = 8;
/** Rows that one run of a decoder takes: more gain nothing, and the arena grows with them. */
export const DECODER_ROWS = 128;
/** Rows of an encoder's run; a sequence has to fit. */
export const ENCODER_ROWS = 512;
