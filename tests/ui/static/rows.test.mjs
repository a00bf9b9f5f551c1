import assert from "node:assert/strict";
import { test } from "node:test";

import * as rows from "../../../osiris/ui/static/rows.js";

const row = (id, more) => ({ id, pending: true, note: "", tone: "", ...more });
const PAGE = [row("a"), row("b", { pending: false }), row("c"), row("d"), row("e")];
const IDS = PAGE.map((one) => one.id);
const none = new Map();
const sending = (...ids) => new Map(ids.map((id) => [id, { kind: "approval", isLate: false }]));

test("a row is open while it is pending and nothing is under way", () => {
  assert.deepEqual(rows.openIds(PAGE, none), ["a", "c", "d", "e"]);
  assert.deepEqual(rows.openIds(PAGE, sending("c")), ["a", "d", "e"]);
  assert.equal(rows.isOpen(undefined, none), false);
});

test("the cursor stops at both ends, and enters at the first row", () => {
  assert.equal(rows.stepFrom(IDS, "a", +1), "b");
  assert.equal(rows.stepFrom(IDS, "a", -1), "a");
  assert.equal(rows.stepFrom(IDS, "e", +1), "e");
  assert.equal(rows.stepFrom(IDS, "gone", +1), "a");
  assert.equal(rows.stepFrom([], "a", +1), undefined);
});

test("after a decision comes the next row that is open", () => {
  assert.equal(rows.nextOpen(PAGE, "a", none), "c");
  assert.equal(rows.nextOpen(PAGE, "a", sending("a", "c")), "d");
  assert.equal(rows.nextOpen(PAGE, "e", none), undefined);
});

test("a click selects an open row and takes it back", () => {
  const open = rows.openIds(PAGE, none);
  assert.deepEqual(rows.toggle(new Set(["a"]), "c", open), ["a", "c"]);
  assert.deepEqual(rows.toggle(new Set(["a", "c"]), "a", open), ["c"]);
  assert.deepEqual(rows.toggle(new Set(["a"]), "b", open), ["a"]);
});

for (const [from, to] of [["a", "d"], ["d", "a"]]) {
  test(`a range from ${from} to ${to} has its open rows alone`, () => {
    const open = rows.openIds(PAGE, none);
    assert.deepEqual(new Set(rows.selectRange(new Set(["e"]), from, to, IDS, open)), new Set(["a", "c", "d", "e"]));
  });
}

test("a range from a row that is gone is the row that was clicked", () => {
  assert.deepEqual(rows.selectRange(new Set(), "gone", "d", IDS, IDS), ["d"]);
});

test("a selection is the same in any order", () => {
  assert.ok(rows.isSame(new Set(["a", "b"]), ["b", "a"]));
  assert.ok(!rows.isSame(new Set(["a", "b"]), ["a"]));
});

test("what is saved stands in the status, what is refused under the row", () => {
  assert.deepEqual(rows.noteUnder(row("a", { note: "Saved.", tone: "saved" })), { text: "", tone: "saved" });
  assert.equal(rows.noteUnder(row("a", { note: "Not saved: expired", tone: "refused" })).text, "Not saved: expired");
});

test("a decision without an answer is said to be unsaved, only when it is late", () => {
  const saved = row("a", { note: "Saved.", tone: "saved" });
  assert.equal(rows.noteUnder(saved, { kind: "approval", isLate: false }).text, "");
  const late = rows.noteUnder(saved, { kind: "approval", isLate: true });
  assert.match(late.text, /^Not saved yet: approval\./);
  assert.equal(late.tone, "waiting");
});

test("leaving asks while anything is under way", () => {
  assert.ok(!rows.isUnsaved(PAGE, none));
  assert.ok(rows.isUnsaved(PAGE, sending("a")));
  assert.ok(rows.isUnsaved([row("a", { tone: "waiting" })], none));
});
