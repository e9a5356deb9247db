/** Owns the trial whether so many bytes more fit into the origin private file system, and whether it works at all. */
import { acquireFileLock } from "./file_lock.js";
import { openSyncHandle } from "./sync_handle.js";

/** How exactly free space is found out. */
const STEP = 1 << 20;
const FOLDER = "trials";

/**
 * Lengthens empty files and removes them again: browsers charge a file's length to the quota, while the file system
 * writes nothing. One file for each binary digit of the size, because Chromium rounds what a file asks for up to a
 * power of two (below 128 MiB). What a tab left behind that died meanwhile is removed by the next trial.
 * @param {FileSystemDirectoryHandle} directory
 * @param {LockManager | undefined} locks
 * @param {number} wantedBytes 0 tries only whether files can be opened
 * @returns {Promise<number>} `wantedBytes`, or about how much less there is room for
 */
export async function tryOutSpace(directory, locks, wantedBytes) {
  const release = await acquireFileLock(locks, FOLDER, { progress: async () => 0 });
  /** @type {import("./sync_handle.js").SyncHandle[]} */
  const handles = [];
  const removeAll = () => directory.removeEntry(FOLDER, { recursive: true }).catch(() => {});
  try {
    await removeAll();
    const folder = await directory.getDirectoryHandle(FOLDER, { create: true });
    const next = async () => {
      const handle = await openSyncHandle(folder, crypto.randomUUID());
      handles.push(handle);
      return handle;
    };
    if (wantedBytes === 0) return (await next()).getSize();
    const wanted = Math.ceil(wantedBytes / STEP) * STEP;
    let free = 0;
    for (let size = STEP * 2 ** Math.floor(Math.log2(wanted / STEP)); size >= STEP; size /= 2) {
      if (free + size <= wanted && lengthen(await next(), size)) free += size;
    }
    return Math.min(free, wantedBytes);
  } finally {
    for (const handle of handles) handle.close();
    await removeAll();
    release();
  }
}

/**
 * @param {import("./sync_handle.js").SyncHandle} handle
 * @param {number} size
 * @returns {boolean} whether there is room
 */
function lengthen(handle, size) {
  try {
    handle.truncate(size);
    return true;
  } catch {
    return false;
  }
}
