import assert from "node:assert/strict";
import { test } from "node:test";

import { LEGEND, actOf, formActOf } from "../../../osiris/ui/static/keys.js";

const press = (key, more) => ({
  key, code: /^[a-z]$/i.test(key) ? "Key" + key.toUpperCase() : key,
  shiftKey: false, ctrlKey: false, metaKey: false, altKey: false, repeat: false, isComposing: false, ...more,
});

test("every key of the legend does something", () => {
  for (const [keys] of LEGEND) {
    for (const key of keys.split(" ")) {
      const shiftKey = key.startsWith("shift+");
      const name = key.replace("shift+", "").replace("esc", "Escape");
      assert.ok(actOf(press(name, { shiftKey })), key);
    }
  }
});

for (const [shiftKey, capsLock, act] of [
  [false, false, "approve"], [false, true, "approve"], [true, false, "approve selection"], [true, true, "approve selection"],
]) {
  test(`shift ${shiftKey}, Caps Lock ${capsLock}: ${act}`, () => {
    const key = shiftKey === capsLock ? "a" : "A";
    assert.equal(actOf(press(key, { shiftKey, code: "KeyA" })), act);
  });
}

for (const modifier of ["ctrlKey", "metaKey", "altKey", "isComposing"]) {
  test(`a key with ${modifier} is not the table's`, () => assert.equal(actOf(press("a", { [modifier]: true })), null));
}

test("a key held down moves on, and decides once", () => {
  assert.equal(actOf(press("j", { repeat: true })), "next");
  for (const key of ["a", "r", "u", "x", "n"]) assert.equal(actOf(press(key, { repeat: true })), null);
});

for (const [layout, key, code, act] of [
  ["Cyrillic", "о", "KeyJ", "next"], ["Cyrillic", "ф", "KeyA", "approve"], ["Greek", "κ", "KeyK", "previous"],
  ["Hebrew", "ר", "KeyR", "reject"], ["Dvorak", "a", "KeyA", "approve"], ["AZERTY", "a", "KeyQ", "approve"],
  ["AZERTY", "q", "KeyA", null], ["Dvorak", "o", "KeyS", null], ["no code", "a", undefined, "approve"],
]) {
  test(`${layout}: the key ${key} at ${code}`, () => assert.equal(actOf(press(key, { code })), act));
}

test("names of keys are not letters", () => {
  for (const key of ["Process", "Dead", "Unidentified", "Tab", "Enter"]) {
    assert.equal(actOf(press(key, { code: "KeyA" })), null);
  }
});

test("in the form no letter is an act", () => {
  for (const key of "arjkeuxnp") for (const inField of [true, false]) assert.equal(formActOf(press(key), inField), null);
});

test("Enter saves from a field and presses a button; Escape leaves from anywhere", () => {
  assert.equal(formActOf(press("Enter"), true), "save");
  assert.equal(formActOf(press("Enter"), false), null);
  assert.equal(formActOf(press("Escape"), true), "cancel");
  assert.equal(formActOf(press("Escape"), false), "cancel");
});

test("what is held down or composed saves nothing", () => {
  assert.equal(formActOf(press("Enter", { repeat: true }), true), null);
  assert.equal(formActOf(press("Enter", { isComposing: true }), true), null);
});
