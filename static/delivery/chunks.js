/** Owns the arithmetic of chunks (a file is cut every `chunkSize` bytes, the last chunk is shorter); a leaf. */

/** @param {number} sizeBytes @param {number} chunkSize */
export function chunkCount(sizeBytes, chunkSize) {
  return Math.ceil(sizeBytes / chunkSize);
}

/** @param {number} sizeBytes @param {number} chunkSize @param {number} index @returns {number} bytes */
export function chunkLength(sizeBytes, chunkSize, index) {
  return Math.min(chunkSize, sizeBytes - index * chunkSize);
}

/** @param {number} sizeBytes @param {number} chunkSize @param {Iterable<number>} indices @returns {number} bytes */
export function chunksLength(sizeBytes, chunkSize, indices) {
  let total = 0;
  for (const index of indices) total += chunkLength(sizeBytes, chunkSize, index);
  return total;
}

/** @param {number} bytes @returns {string} for messages: "101.2 MB" (decimal, as operating systems show it) */
export function megabytes(bytes) {
  return `${(bytes / 1e6).toFixed(1)} MB`;
}
