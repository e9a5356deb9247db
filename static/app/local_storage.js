/** Owns what the page keeps in localStorage: small JSON values, and no failure when the browser forbids it. */

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
    // Private windows and full disks: the page works without memory.
  }
}
