/** Owns SHA-256 as lower-case hex; a leaf. The platform's where there is one, else ours. */

/**
 * @typedef {Pick<SubtleCrypto, "digest">} Digester
 */

/**
 * SHA-256 of the bytes, 64 lower-case hex digits.
 *
 * Browsers hide `crypto.subtle` from pages served over plain http from another machine (a phone that opens
 * `http://192.168.0.5:8000`); verification must not depend on it, so there is a portable path.
 * @param {Uint8Array} bytes
 * @param {Digester | null} [subtle] null selects the portable path
 * @returns {Promise<string>}
 */
export async function sha256Hex(bytes, subtle = globalThis.crypto?.subtle ?? null) {
  if (!subtle) return toHex(sha256Portable(bytes));
  const source = /** @type {Uint8Array<ArrayBuffer>} */ (bytes);
  return toHex(new Uint8Array(await subtle.digest("SHA-256", source)));
}

/** @param {Uint8Array} bytes */
function toHex(bytes) {
  let hex = "";
  for (const byte of bytes) hex += byte.toString(16).padStart(2, "0");
  return hex;
}

const BLOCK_BYTES = 64;
const ROUNDS = 64;
const [ROUND_CONSTANTS, INITIAL_STATE] = deriveConstants();

/**
 * SHA-256 in plain JavaScript, FIPS 180-4 section 6.2.
 * @param {Uint8Array} bytes
 * @returns {Uint8Array} 32 bytes
 */
export function sha256Portable(bytes) {
  const state = Int32Array.from(INITIAL_STATE);
  const schedule = new Int32Array(ROUNDS);
  const wholeBytes = bytes.length - (bytes.length % BLOCK_BYTES);
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  for (let at = 0; at < wholeBytes; at += BLOCK_BYTES) compress(state, schedule, view, at);

  const tailBytes = bytes.length - wholeBytes;
  const padded = new Uint8Array(tailBytes + 9 > BLOCK_BYTES ? 2 * BLOCK_BYTES : BLOCK_BYTES);
  padded.set(bytes.subarray(wholeBytes));
  padded[tailBytes] = 0x80;
  const tail = new DataView(padded.buffer);
  tail.setBigUint64(padded.length - 8, BigInt(bytes.length) * 8n);
  for (let at = 0; at < padded.length; at += BLOCK_BYTES) compress(state, schedule, tail, at);

  const digest = new DataView(new ArrayBuffer(32));
  state.forEach((word, i) => digest.setInt32(4 * i, word));
  return new Uint8Array(digest.buffer);
}

/**
 * @param {Int32Array} state 8 words, updated
 * @param {Int32Array} w scratch, 64 words
 * @param {DataView} view
 * @param {number} at offset of a 64-byte block
 */
function compress(state, w, view, at) {
  for (let t = 0; t < 16; t++) w[t] = view.getInt32(at + 4 * t);
  for (let t = 16; t < ROUNDS; t++) {
    const x = w[t - 15];
    const y = w[t - 2];
    const s0 = ((x >>> 7) | (x << 25)) ^ ((x >>> 18) | (x << 14)) ^ (x >>> 3);
    const s1 = ((y >>> 17) | (y << 15)) ^ ((y >>> 19) | (y << 13)) ^ (y >>> 10);
    w[t] = (w[t - 16] + s0 + w[t - 7] + s1) | 0;
  }
  let [a, b, c, d, e, f, g, h] = state;
  for (let t = 0; t < ROUNDS; t++) {
    const s1 = ((e >>> 6) | (e << 26)) ^ ((e >>> 11) | (e << 21)) ^ ((e >>> 25) | (e << 7));
    const t1 = (h + s1 + ((e & f) ^ (~e & g)) + ROUND_CONSTANTS[t] + w[t]) | 0;
    const s0 = ((a >>> 2) | (a << 30)) ^ ((a >>> 13) | (a << 19)) ^ ((a >>> 22) | (a << 10));
    const t2 = (s0 + ((a & b) ^ (a & c) ^ (b & c))) | 0;
    h = g;
    g = f;
    f = e;
    e = (d + t1) | 0;
    d = c;
    c = b;
    b = a;
    a = (t1 + t2) | 0;
  }
  state[0] += a;
  state[1] += b;
  state[2] += c;
  state[3] += d;
  state[4] += e;
  state[5] += f;
  state[6] += g;
  state[7] += h;
}

/**
 * The constants are the first 32 bits of the fractional parts of the cube roots (rounds) and square roots (state) of
 * the first primes; a double holds those bits exactly enough (the published vectors are a test).
 * @returns {[Int32Array, Int32Array]}
 */
function deriveConstants() {
  const rounds = new Int32Array(ROUNDS);
  const state = new Int32Array(8);
  let found = 0;
  for (let n = 2; found < ROUNDS; n++) {
    let prime = true;
    for (let d = 2; d * d <= n; d++) if (n % d === 0) prime = false;
    if (!prime) continue;
    rounds[found] = fraction32(Math.cbrt(n));
    if (found < 8) state[found] = fraction32(Math.sqrt(n));
    found++;
  }
  return [rounds, state];
}

/** @param {number} value */
function fraction32(value) {
  return ((value - Math.floor(value)) * 2 ** 32) | 0;
}
