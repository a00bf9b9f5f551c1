// Which key does what. A wrong key is a wrong decision, so a key counts only where nobody types, and Shift is the key
// that is held, not the case of the letter: Caps Lock and `a` is `a`.

export const LEGEND = [
  ["j k", "next, previous"], ["a", "approve"], ["r", "reject"], ["e", "edit"], ["u", "undo"],
  ["x", "select"], ["esc", "select none"], ["shift+a shift+r", "approve, reject the selection"],
  ["n p", "next, previous page"],
];

const ACTS = new Map(Object.entries({
  j: "next", arrowdown: "next", k: "previous", arrowup: "previous",
  a: "approve", r: "reject", e: "edit", u: "undo", x: "select", escape: "select none",
  "shift+a": "approve selection", "shift+r": "reject selection", n: "next page", p: "previous page",
}));
const REPEATED = new Set(["next", "previous"]); // any other act happens once, however long its key is held
const LATIN = /^[a-z]$/;

/**
 * The letter of a key in lower case, or the key's name.
 *
 * On a layout without Latin letters (Cyrillic, Greek, Hebrew) the place of the key decides, as on an English keyboard.
 */
function nameOf(event) {
  const key = event.key.toLowerCase();
  const place = /^Key([A-Z])$/.exec(event.code ?? "");
  return place && key.length === 1 && !LATIN.test(key) ? place[1].toLowerCase() : key;
}

/** What a key asks for in the table, or null. */
export function actOf(event) {
  if (event.ctrlKey || event.metaKey || event.altKey || event.isComposing) return null;
  const act = ACTS.get((event.shiftKey ? "shift+" : "") + nameOf(event)) ?? null;
  return event.repeat && !REPEATED.has(act) ? null : act;
}

/** What a key asks for in the form of an edit, or null: there, a letter is never an act. */
export function formActOf(event, inField) {
  if (event.isComposing || event.repeat) return null;
  if (event.key === "Escape") return "cancel";
  return event.key === "Enter" && inField ? "save" : null; // on a button, Enter presses it
}
