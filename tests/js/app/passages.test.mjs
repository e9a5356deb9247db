import assert from "node:assert/strict";
import { test } from "node:test";
import { cosine, rank, splitLabels, splitLines, splitPassages, swapPrefix } from "../../../static/app/passages.js";

test("passages_are_lines", () => {
  assert.deepEqual(splitPassages("  one \ntwo\t words\n"), ["one", "two words"]);
  assert.deepEqual(splitPassages(" \n "), []);
});

test("passages_are_paragraphs_where_empty_lines_part_them", () => {
  assert.deepEqual(splitPassages("one\nstill one\n \ntwo\r\n"), ["one still one", "two"]);
});

test("labels_may_say_what_they_mean", () => {
  assert.deepEqual(splitLabels("praise\nfault: it breaks: often\n\n: nothing\npraise"), [
    { name: "praise", meaning: "praise" },
    { name: "fault", meaning: "it breaks: often" },
  ]);
});

test("ranking_puts_the_nearest_first_whatever_the_lengths", () => {
  const ranked = rank([1, 0], [[0, 5], [3, 0], [1, 1]]);
  assert.deepEqual(ranked.map(({ index }) => index), [1, 2, 0]);
  assert.equal(ranked[0].score, 1);
});

test("a_zero_vector_is_near_nothing", () => {
  assert.equal(cosine([0, 0], [1, 2]), 0);
});

test("lines_know_where_they_stand", () => {
  const text = "one \n\n \t\n  two\r\nthree";
  const lines = splitLines(text);
  assert.deepEqual(lines.map((line) => line.text.trim()), ["one", "two", "three"]);
  for (const line of lines) assert.equal(text.slice(line.start, line.start + line.text.length), line.text);
  assert.deepEqual(splitLines(" \n"), []);
});

test("a_beginning_takes_the_place_of_another", () => {
  const known = ["translate: ", "translate: to German: "];
  assert.equal(swapPrefix("translate: to German: hello", known, "sum: "), "sum: hello");
  assert.equal(swapPrefix("hello", known, "sum: "), "sum: hello");
  assert.equal(swapPrefix("translate: hello", known, ""), "hello");
});
