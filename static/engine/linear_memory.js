/** Owns the memory that the kernels work in: it only grows, and hands out regions from the bottom up. */

import { FeatherweightError } from "../errors.js";

const PAGE_BYTES = 65536;
const ALIGNMENT = 64;
/** Largest sizes to ask for, in pages; some devices refuse the first. */
const MAXIMUM_PAGES = [65535, 32768, 16384];

export class LinearMemory {
  /** @param {boolean} shared whether threads share it */
  constructor(shared) {
    this.memory = createMemory(shared);
    this.top = 0;
    this.scratch = { address: 0, bytes: 0 };
    this.view = new Uint8Array(this.memory.buffer);
  }

  /** @param {number} bytes @returns {number} address of zeroed memory */
  allocate(bytes) {
    const address = Math.ceil(this.top / ALIGNMENT) * ALIGNMENT;
    const missing = address + bytes - this.memory.buffer.byteLength;
    if (missing > 0) {
      try {
        this.memory.grow(Math.ceil(missing / PAGE_BYTES));
      } catch (cause) {
        throw outOfMemory(address + bytes, cause);
      }
    }
    this.top = address + bytes;
    return address;
  }

  /** Take back everything from an address on, zeroed for the next who asks. @param {number} address */
  release(address) {
    this.bytes().fill(0, address, this.top);
    this.top = address;
  }

  /** The scratch region, when it is large enough. @param {number} bytes */
  reserveScratch(bytes) {
    if (bytes > this.scratch.bytes) throw outOfMemory(bytes, undefined);
    return this.scratch.address;
  }

  /** All of it; the view is good until memory grows. */
  bytes() {
    if (this.view.buffer !== this.memory.buffer) this.view = new Uint8Array(this.memory.buffer);
    return this.view;
  }

  /** @param {number} address @param {number} length */
  words(address, length) {
    return new Uint32Array(this.memory.buffer, address, length);
  }

  /** @param {number} address @param {number} length */
  floats(address, length) {
    return new Float32Array(this.memory.buffer, address, length);
  }
}

/** @param {boolean} shared */
function createMemory(shared) {
  let last;
  for (const maximum of MAXIMUM_PAGES) {
    try {
      return new WebAssembly.Memory({ initial: 16, maximum, shared });
    } catch (error) {
      last = error;
    }
  }
  throw outOfMemory(MAXIMUM_PAGES[MAXIMUM_PAGES.length - 1] * PAGE_BYTES, last);
}

/** @param {number} bytes @param {unknown} cause */
function outOfMemory(bytes, cause) {
  const mebibytes = Math.ceil(bytes / 2 ** 20);
  return new FeatherweightError(
    "out_of_memory",
    `The browser refused ${mebibytes} MiB of memory. Close other tabs, or choose a smaller variant or a shorter context.`,
    { bytes },
    { cause },
  );
}
