/** Owns the words that every backend speaks: the interface between a model's files and the tasks. Types only. */

/**
 * What a backend is given to load.
 * @typedef {object} VariantContext
 * @property {import("../manifest/manifest.js").Manifest} manifest
 * @property {import("../manifest/manifest.js").Variant} variant
 * @property {VariantFiles} files
 */

/**
 * The variant's files: downloaded when they are asked for, unless they are stored, and verified.
 * @typedef {object} VariantFiles
 * @property {(path: string) => Promise<Uint8Array>} read a whole file; the caller may keep the bytes
 * @property {(paths: readonly string[], take: (path: string, offset: number, bytes: Uint8Array) => void) => Promise<void>} stream
 *   gives each chunk once as it arrives, in any order; the bytes are good during the call
 */

/**
 * @typedef {object} BackendOptions
 * @property {number} threads at least 1, and 1 where the page is not cross-origin isolated
 * @property {number} [mostThreads] when nobody asked for a number: up to so many a backend that measures may try
 * @property {number} contextLength tokens the KV cache may hold
 * @property {"fp32" | "int16" | "int8"} [kvDtype] what the KV cache holds, where the backend lets one choose
 * @property {AbortSignal} [signal]
 */

/**
 * @typedef {object} Backend
 * @property {string} name
 * @property {(context: VariantContext, options: BackendOptions) => Promise<Session>} load
 */

/**
 * @typedef {object} SessionBase
 * @property {string} backend its name
 * @property {number} threads those in use; a backend that measures may change it
 * @property {() => number} memoryBytes memory held now, as far as the backend can know it
 * @property {() => Promise<void>} dispose
 */

/**
 * A decoder, for one conversation. Calls must not overlap.
 * @typedef {object} DecoderMethods
 * @property {number} length tokens in the KV cache
 * @property {(tokenIds: readonly number[], into?: Float32Array) => Promise<Float32Array>} prefill runs tokens after those
 *   in the cache; the logits [vocab] of the last one. The array is the caller's; it may be `into`, an earlier one that is
 *   not needed any more: a new one for every token is garbage by the megabyte.
 * @property {(tokenId: number) => Promise<Float32Array>} decode the same for one token
 * @property {(length: number) => Promise<void>} truncate keeps only the first tokens of the cache
 * @property {() => Promise<void>} reset empties the cache
 */

/**
 * @typedef {object} Batch
 * @property {readonly (readonly number[])[]} inputIds [batch][tokens], all rows of one length
 * @property {readonly (readonly number[])[]} attentionMask the same shape: 1 for a token, 0 for padding
 * @property {readonly (readonly number[])[]} [tokenTypeIds] the same shape: 1 for tokens of the second of two texts; for
 *   models that have the input, 0 everywhere without it
 */

/** Floats in rows. @typedef {{data: Float32Array, dims: readonly number[]}} Output */

/**
 * An encoder.
 * @typedef {object} EncoderMethods
 * @property {(batch: Batch) => Promise<Readonly<Record<string, Output>>>} encode the outputs of the graph by name, as the
 *   task has them: last_hidden_state [batch, tokens, hidden]; logits [batch, labels], [batch, tokens, labels] or
 *   [batch, tokens, vocab]; start_logits and end_logits [batch, tokens]
 */

/**
 * An encoder-decoder, for one text and one answer at a time. Calls must not overlap.
 * @typedef {object} EncoderDecoderMethods
 * @property {(tokenIds: readonly number[]) => Promise<void>} start reads a text; the answer to another one is forgotten
 * @property {(tokenIds: readonly number[]) => Promise<Float32Array>} decode runs tokens after those of the answer so far;
 *   the logits [vocab] of the last one. The array is the caller's.
 */

/** @typedef {SessionBase & DecoderMethods & {kind: "decoder"}} DecoderSession */
/** @typedef {SessionBase & EncoderDecoderMethods & {kind: "encoder-decoder"}} EncoderDecoderSession */
/** @typedef {SessionBase & EncoderMethods & {kind: "encoder"}} EncoderSession */
/** @typedef {DecoderSession | EncoderSession | EncoderDecoderSession} Session */

export {};
