/** Both paths of SHA-256 against the published vectors and against each other. */
import assert from "node:assert/strict";
import { createHash, randomBytes } from "node:crypto";
import { test } from "node:test";

import { sha256Hex } from "../../../static/sha256.js";

const paths = { platform: globalThis.crypto.subtle, portable: null };

for (const [name, subtle] of Object.entries(paths)) {
  test(`${name} path matches the published vectors (FIPS 180-4 examples)`, async () => {
    const hash = (text) => sha256Hex(new TextEncoder().encode(text), subtle);
    assert.equal(await hash("abc"), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    assert.equal(await hash(""), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
    const long = "abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq";
    assert.equal(await hash(long), "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1");
  });

  test(`${name} path matches_reference at every padding length, and in a view`, async () => {
    for (const length of [1, 55, 56, 57, 63, 64, 65, 119, 120, 128, 100_003]) {
      const bytes = randomBytes(length + 3).subarray(3);
      assert.equal(await sha256Hex(bytes, subtle), createHash("sha256").update(bytes).digest("hex"), `${length} bytes`);
    }
  });
}
