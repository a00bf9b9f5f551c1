// Which rows can be decided on, which one comes next, which are selected. Nothing here touches the page.
// A row is what Python sends: {id, cells, status, pending, note, tone}. `sending` has the ids without an answer yet.

export const ANSWER_MS = 3000; // an answer takes about 50 ms; a person who waits this long should be told

export function isOpen(row, sending) {
  return Boolean(row && row.pending && !sending.has(row.id));
}

export function openIds(rows, sending) {
  return rows.filter((row) => isOpen(row, sending)).map((row) => row.id);
}

/** The id `by` places after `cursor`, at most at an end; the first id if the cursor is on none of them. */
export function stepFrom(ids, cursor, by) {
  return ids[Math.min(Math.max(ids.indexOf(cursor) + by, 0), ids.length - 1)];
}

/** The first open row after `id`, or undefined. */
export function nextOpen(rows, id, sending) {
  const at = rows.findIndex((row) => row.id === id);
  return rows.slice(at + 1).find((row) => isOpen(row, sending))?.id;
}

/** The selection after a click on the box of `id`: it changes, if the row is open. */
export function toggle(selected, id, open) {
  if (selected.has(id)) return [...selected].filter((one) => one !== id);
  return open.includes(id) ? [...selected, id] : [...selected];
}

/** The selection after a shift-click: every open row from `from` to `to` is in it, in whichever order they stand. */
export function selectRange(selected, from, to, ids, open) {
  const places = [ids.indexOf(from), ids.indexOf(to)].filter((place) => place >= 0);
  const range = ids.slice(Math.min(...places), Math.max(...places) + 1);
  return [...new Set([...selected, ...range.filter((id) => open.includes(id))])];
}

export function isSame(selected, ids) {
  return ids.length === selected.size && ids.every((id) => selected.has(id));
}

/** What stands under a row, and its tone. `asked` is {kind, isLate}, a decision without an answer, or undefined. */
export function noteUnder(row, asked) {
  if (asked?.isLate) {
    const text = `Not saved yet: ${asked.kind}. This page's notebook does not answer; if this stays, open the page anew.`;
    return { text, tone: "waiting" };
  }
  return { text: row.tone === "saved" ? "" : row.note, tone: row.tone };
}

/** Whether leaving the page may lose a decision. */
export function isUnsaved(rows, sending) {
  return sending.size > 0 || rows.some((row) => row.tone === "waiting");
}
