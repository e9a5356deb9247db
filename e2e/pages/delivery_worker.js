/** Owns the commands that the browser tests of static/delivery run inside a dedicated worker. */
import { Delivery } from "/static/delivery/delivery.js";
import { fetchFiles, removeVariant, variantStatus } from "/static/delivery/downloader.js";
import { acquireFileLock } from "/static/delivery/store/file_lock.js";
import { openStore } from "/static/delivery/store/store.js";
import { FeatherweightError } from "/static/errors.js";
import { loadManifest } from "/static/manifest/load_manifest.js";
import { sha256Hex } from "/static/sha256.js";

const RETRY = { attempts: 3, baseMs: 10, capMs: 50 };
let store;
let manifest;
let aborter;
const open = new Map();

const commands = {
  /** kind: the best store this may use. */
  async start(manifestUrl, kind) {
    const { storage, locks } = navigator;
    store = await openStore({
      storage: kind === "opfs" ? storage : undefined,
      caches: kind === "memory" ? undefined : globalThis.caches,
      locks,
    });
    manifest = await loadManifest(manifestUrl);
    return store.kind;
  },

  /** askQuota false: let the write itself meet the limit. */
  async fetch({ askQuota = true, connections = 4 } = {}) {
    aborter = new AbortController();
    const reports = [];
    const options = { signal: aborter.signal, connections, retry: RETRY, onProgress: (report) => reports.push(report) };
    const result = await fetchFiles(
      manifest,
      manifest.variant("q4").files,
      store,
      askQuota ? options : { ...options, storage: {} },
    );
    return { ...result, last: reports.at(-1) };
  },

  async abort() {
    aborter.abort();
  },

  async hash(path) {
    const delivery = await Delivery.open(manifest, [path], store, { retry: RETRY });
    try {
      return await sha256Hex(await delivery.read(path));
    } finally {
      delivery.close();
    }
  },

  status: () => variantStatus(manifest, "q4", store),
  remove: () => removeVariant(manifest, "q4", store),
  list: () => store.list(),
  usage: () => store.usage(),

  /** Changes a byte of a stored chunk behind the store's back: the record still says that the chunk is there. */
  async corrupt(path, index) {
    const stored = await store.open(manifest.files.get(path), manifest.chunkSize);
    const bytes = await stored.read(index, new Uint8Array(manifest.chunkSize));
    bytes[3] ^= 16;
    await stored.write(index, bytes);
    await stored.close();
  },

  async shorten(path, size) {
    const directory = await (await navigator.storage.getDirectory()).getDirectoryHandle("featherweight-store-v1");
    const handle = await (
      await directory.getFileHandle(`${manifest.files.get(path).sha256}.data`)
    ).createSyncAccessHandle();
    handle.truncate(size);
    handle.close();
  },

  /** What a tab leaves that dies while it tries out the space. */
  async litter(size) {
    const directory = await (await navigator.storage.getDirectory()).getDirectoryHandle("featherweight-store-v1");
    const trials = await directory.getDirectoryHandle("trials", { create: true });
    const handle = await (await trials.getFileHandle("left", { create: true })).createSyncAccessHandle();
    handle.truncate(size);
    handle.close();
  },

  async names() {
    const directory = await (await navigator.storage.getDirectory()).getDirectoryHandle("featherweight-store-v1");
    return Array.fromAsync(directory.keys());
  },

  async hold(path) {
    open.set(path, await store.open(manifest.files.get(path), manifest.chunkSize));
  },

  async release(path) {
    await open.get(path).close();
  },

  /** Waits for a file's lock with little patience. */
  async lock(path, patienceMs) {
    const release = await acquireFileLock(navigator.locks, manifest.files.get(path).sha256, {
      progress: async () => 0,
      patienceMs,
    });
    release();
  },
};

globalThis.onmessage = async ({ data: { id, name, args } }) => {
  try {
    postMessage({ id, value: await commands[name](...args) });
  } catch (error) {
    postMessage({ id, error: FeatherweightError.from(error, "store").toJSON() });
  }
};
