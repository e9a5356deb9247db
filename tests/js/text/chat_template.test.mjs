import assert from "node:assert/strict";
import { test } from "node:test";
import { FeatherweightError } from "../../../static/errors.js";
import { ChatTemplate, findChatTemplate } from "../../../static/text/chat_template.js";

const isUnsupported = (error) => error instanceof FeatherweightError && error.code === "unsupported";

test("file_wins_over_configuration", () => {
  assert.equal(findChatTemplate("file", "config"), "file");
  assert.equal(findChatTemplate(null, "config"), "config");
  assert.equal(findChatTemplate(null, null), null);
});

test("named_templates_give_the_default_one", () => {
  const named = [
    { name: "rag", template: "R" },
    { name: "default", template: "D" },
  ];
  assert.equal(findChatTemplate(null, named), "D");
  assert.equal(findChatTemplate(null, named.slice(0, 1)), "R");
});

test("special_tokens_are_variables", () => {
  const template = new ChatTemplate("{{ bos_token }}{% for m in messages %}{{ m['content'] }}{% endfor %}", {
    bos_token: "<s>",
  });
  assert.equal(template.render([{ role: "user", content: "hi" }]), "<s>hi");
});

test("rejects_broken_template", () => {
  assert.throws(() => new ChatTemplate("{% for %}"), isUnsupported);
});

test("refusal_of_the_template_is_told", () => {
  const template = new ChatTemplate("{{ raise_exception('roles must alternate') }}");
  assert.throws(
    () => template.render([]),
    (error) => isUnsupported(error) && /roles must alternate/.test(error.message),
  );
});
