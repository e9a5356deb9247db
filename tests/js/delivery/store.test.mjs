/** The choice of the store among platforms that offer what then does not work. */
import assert from "node:assert/strict";
import { test } from "node:test";

import { CacheStore } from "../../../static/delivery/store/cache_store.js";
import { openStore } from "../../../static/delivery/store/store.js";

const NEVER = new Promise(() => {});
const caches = (match) => ({ open: async () => ({ match }) });

test("the cache is the store where there is nothing better and it answers", async () => {
  assert.equal((await openStore({ caches: caches(async () => undefined) })).kind, "cache");
  assert.equal((await openStore({})).kind, "memory");
});

test("a cache that never answers is none: Chromium's is like that after a tab died that was writing to it", async () => {
  assert.equal(await CacheStore.tryOpen({ caches: caches(() => NEVER) }, 5), null);
  assert.equal(await CacheStore.tryOpen({ caches: caches(() => Promise.reject(new TypeError())) }), null);
});
