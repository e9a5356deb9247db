import assert from "node:assert/strict";
import { test } from "node:test";
import { Conversation, capTurns, readTurns } from "../../../static/app/conversation.js";

const turns = [
  { role: "user", content: "aaaa" },
  { role: "assistant", content: "bbbb" },
  { role: "user", content: "cc" },
  { role: "assistant", content: "dd" },
];

test("cap_keeps_the_newest_turns_from_a_question_on", () => {
  assert.deepEqual(capTurns(turns, 100), turns);
  assert.deepEqual(capTurns(turns, 8), turns.slice(2));
  assert.deepEqual(capTurns(turns, 2), []);
});

test("rejects_stored_values_that_are_no_turns", () => {
  assert.deepEqual(readTurns("text"), []);
  assert.deepEqual(readTurns([null, { role: "system", content: "x" }, { role: "user", content: 1 }, { ...turns[0], more: 1 }]), [turns[0]]);
});

test("works_without_storage_and_puts_the_system_prompt_first", () => {
  const talk = new Conversation("model");
  talk.add("user", "hello");
  assert.deepEqual(talk.prompt(""), [{ role: "user", content: "hello" }]);
  assert.deepEqual(talk.prompt("be brief")[0], { role: "system", content: "be brief" });
});

test("takes_back_a_question_but_no_answer", () => {
  const talk = new Conversation("model");
  talk.add("user", "hello");
  talk.add("assistant", "hi");
  talk.takeBackQuestion();
  assert.equal(talk.turns.length, 2);
  talk.add("user", "again");
  talk.takeBackQuestion();
  assert.equal(talk.turns.length, 2);
});
