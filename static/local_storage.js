/** Owns what is kept in localStorage: small JSON values, and no failure where the browser forbids it or has none. */

const PREFIX = "featherweight.";

/**
 * @param {string} key
 * @returns {unknown} undefined when nothing readable is there
 */
export function recall(key) {
  try {
    const text = localStorage.getItem(PREFIX + key);
    return text === null ? undefined : JSON.parse(text);
  } catch {
    return undefined;
  }
}

/**
 * @param {string} key
 * @param {unknown} value undefined forgets
 */
export function remember(key, value) {
  try {
    if (value === undefined) localStorage.removeItem(PREFIX + key);
    else localStorage.setItem(PREFIX + key, JSON.stringify(value));
  } catch {
    // Private windows, full disks, workers: everything works without memory.
  }
}
