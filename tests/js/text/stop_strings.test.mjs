import assert from "node:assert/strict";
import { test } from "node:test";
import { StopStrings } from "../../../static/text/stop_strings.js";

/** @param {string[]} stops @param {string[]} pieces */
function run(stops, pieces) {
  const filter = new StopStrings(stops);
  const shown = [];
  for (const piece of pieces) {
    const { text, stopped } = filter.push(piece);
    shown.push(text);
    if (stopped) return { shown, stopped };
  }
  return { shown: [...shown, filter.flush()], stopped: false };
}

test("stops_within_a_piece", () => {
  assert.deepEqual(run(["END"], ["one END two"]), { shown: ["one "], stopped: true });
});

test("stops_across_pieces", () => {
  assert.deepEqual(run(["\nUser:"], ["Hi.\n", "Us", "er", ": more"]), { shown: ["Hi.", "", "", ""], stopped: true });
});

test("held_text_is_shown_when_it_turns_out_harmless", () => {
  assert.deepEqual(run(["END"], ["an E", "N", "T", "."]), { shown: ["an ", "", "ENT", ".", ""], stopped: false });
});

test("held_text_is_shown_at_the_end", () => {
  assert.deepEqual(run(["END"], ["an EN"]), { shown: ["an ", "EN"], stopped: false });
});

test("first_of_several_wins", () => {
  assert.deepEqual(run(["two", "one"], ["a one two"]), { shown: ["a "], stopped: true });
});

test("overlapping_start_is_not_lost", () => {
  assert.deepEqual(run(["aab"], ["aa", "ab"]), { shown: ["", "a"], stopped: true });
});

test("nothing_to_stop_at_holds_nothing", () => {
  assert.deepEqual(run([], ["a", "b"]), { shown: ["a", "b", ""], stopped: false });
});

test("every_split_shows_the_same", () => {
  const text = "abcabdabcabcabe!";
  for (let first = 0; first <= text.length; first += 1) {
    for (let second = first; second <= text.length; second += 1) {
      const { shown, stopped } = run(["abcabe"], [text.slice(0, first), text.slice(first, second), text.slice(second)]);
      assert.deepEqual([shown.join(""), stopped], ["abcabdabc", true]);
    }
  }
});
