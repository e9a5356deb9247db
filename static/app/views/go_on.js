/** Owns going on with a text, for models that write but were not taught to converse. */
import { TaskView } from "./task_view.js";
import { write } from "./writing.js";

export const goOn = new TaskView({
  name: "go-on",
  title: "Go on with a text",
  action: "Go on",
  generates: true,
  fields: [
    {
      name: "text",
      label: "Beginning",
      rows: 5,
      value: "The night train was almost empty when the lights went out, and then",
      help: "This model was not taught to converse: it goes on with what you begin.",
    },
  ],
  async run(run) {
    const text = run.values.text.trimEnd();
    if (text) return write(run, text, text);
    run.show();
    return { summary: "There is no beginning yet." };
  },
});
