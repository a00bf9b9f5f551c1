// The form of an edit: five fields, what Python says about what was typed, Save and Cancel.

import { button, element } from "./dom.js";

const FIELDS = ["entry", "target", "stop", "confidence", "comment"];

/** A form for `wanted`, {id, values, message, ok}; `send` gets each act of the person. `node` is what to show. */
export function makeForm(wanted, send) {
  const inputs = {}, message = element("span", "osiris-message"), node = element("div", "osiris-form");
  message.setAttribute("role", "status");
  const values = () => Object.fromEntries(FIELDS.map((name) => [name, inputs[name].value]));
  const form = {
    id: wanted.id,
    node,
    isLeft: false, // by the person, who then goes on with keys; else it was taken away while somebody may type
    save: () => { form.isLeft = true; send({ do: "save", id: form.id, values: values() }); },
    cancel: () => { form.isLeft = true; send({ do: "cancel", id: form.id }); },
    focus: () => { inputs.target.focus(); inputs.target.select(); },
    update: (now) => { message.textContent = now.message ?? ""; saving.disabled = !now.ok; },
  };
  const saving = button("💾 Save", "Save (Enter)", form.save);
  for (const name of FIELDS) {
    const label = element("label", "", name), input = element("input", "osiris-field-" + name);
    input.value = wanted.values[name];
    input.inputMode = name === "comment" ? "text" : "decimal";
    input.addEventListener("input", () => {
      form.isLeft = false;
      saving.disabled = true; // until Python has checked what was typed
      send({ do: "typed", id: form.id, values: values() });
    });
    label.append(input);
    node.append(label);
    inputs[name] = input;
  }
  node.append(saving, button("Cancel", "Leave it as it is (Esc)", form.cancel), message);
  return form;
}
