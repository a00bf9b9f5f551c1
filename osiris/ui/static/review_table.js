// The table of ideas. Every act of a person goes to Python as a message, and the rows are what Python sends.
// A text by a model or a person becomes a text node, never markup.

import { button, element, isDark } from "./dom.js";
import { makeForm } from "./form.js";
import { LEGEND, actOf, formActOf } from "./keys.js";
import {
  ANSWER_MS, isOpen, isSame, isUnsaved, nextOpen, noteUnder, openIds, selectRange, stepFrom, toggle,
} from "./rows.js";

const OLD_SECONDS = 3; // a page can be rendered long before a person opens it; older rows are hidden at first
const SETTLE_MS = 120; // while j is held down, no chart is drawn for the rows that it passes

function render({ model, el }) {
  const { root, head, body } = makeFrame(el);
  const shown = new Map(); // id -> the nodes of a row
  const sending = new Map(); // id -> {kind, isLate} of a decision made here that Python has not answered yet
  let cursor = model.get("cursor"), anchor = null, settling = null, form = null;

  const rows = () => model.get("rows");
  const ids = () => rows().map((row) => row.id);
  const open = () => openIds(rows(), sending);
  const isOpenId = (id) => isOpen(rows().find((row) => row.id === id), sending);
  const selected = () => new Set(model.get("selected"));
  const select = (wanted) => { if (!isSame(selected(), wanted)) set("selected", wanted); };

  function set(name, value) {
    model.set(name, value);
    model.save_changes();
  }

  // -- acts ----------------------------------------------------------------------------------------------------------

  function moveTo(id, now) {
    cursor = id;
    mark();
    shown.get(id)?.line.scrollIntoView({ block: "nearest" });
    clearTimeout(settling);
    settling = setTimeout(() => set("cursor", id), now ? 0 : SETTLE_MS);
  }

  function step(by) {
    const next = stepFrom(ids(), cursor, by);
    anchor = null;
    if (next !== undefined) moveTo(next);
  }

  function decide(kind, wanted) {
    const decided = wanted.filter(isOpenId);
    if (!decided.length) return;
    request(kind, decided, { do: kind, ids: decided });
    select([...selected()].filter(isOpenId));
    if (decided.includes(cursor)) moveTo(nextOpen(rows(), cursor, sending) ?? cursor);
    mark();
  }

  function request(kind, decided, message) {
    const asked = { kind, isLate: false };
    const warn = () => { asked.isLate = true; draw(); };
    for (const id of decided) sending.set(id, asked);
    setTimeout(warn, ANSWER_MS);
    try {
      model.send(message);
    } catch { // the notebook's kernel is gone
      warn();
    }
  }

  function receiveAnswer(answered) {
    for (const id of answered) sending.delete(id);
    draw();
  }

  function decideHere(kind, id) {
    cursor = id; // a click on a button is a click on its row
    decide(kind, [id]);
    root.focus({ preventScroll: true }); // the button is disabled by now, and would take the focus away with it
  }

  function edit(id) {
    if (isOpenId(id)) { moveTo(id, true); model.send({ do: "edit", id }); }
  }

  function selectTo(id, isRange) {
    select(isRange ? selectRange(selected(), anchor ?? cursor, id, ids(), open()) : toggle(selected(), id, open()));
    anchor = id;
    mark(); // the browser has changed the box of a row that may not be selected
  }

  const acts = {
    next: () => step(+1), previous: () => step(-1),
    approve: () => decide("approval", [cursor]), reject: () => decide("rejection", [cursor]),
    "approve selection": () => decide("approval", [...selected()]),
    "reject selection": () => decide("rejection", [...selected()]),
    edit: () => edit(cursor), undo: () => model.send({ do: "undo" }),
    select: () => selectTo(cursor, false), "select none": () => select([]),
    "next page": () => model.send({ do: "turn", by: +1 }), "previous page": () => model.send({ do: "turn", by: -1 }),
  };

  function onKey(event) {
    event.stopPropagation();
    const inForm = form !== null && form.node.contains(event.target);
    const act = inForm ? form[formActOf(event, event.target.matches("input"))] : acts[actOf(event)];
    if (!act) return;
    event.preventDefault();
    act();
  }

  // -- what is shown -------------------------------------------------------------------------------------------------

  function mark() {
    const chosen = selected(), pending = open();
    for (const [id, nodes] of shown) {
      nodes.line.classList.toggle("osiris-cursor", id === cursor);
      nodes.line.setAttribute("aria-current", id === cursor ? "true" : "false");
      nodes.line.classList.toggle("osiris-sending", sending.has(id));
      nodes.box.checked = chosen.has(id);
      for (const control of nodes.controls) control.disabled = !pending.includes(id);
    }
    const every = head.querySelector("input");
    if (every) every.checked = pending.length > 0 && pending.every((id) => chosen.has(id));
  }

  function drawHead() {
    const line = element("tr"), selectAll = element("input"), cell = element("th");
    selectAll.type = "checkbox";
    selectAll.title = "Select all that are pending on this page";
    selectAll.addEventListener("change", () => select(selectAll.checked ? open() : []));
    cell.append(selectAll);
    line.append(cell, ...model.get("columns").map(makeHeader), element("th", "", ""));
    head.replaceChildren(line);
  }

  function makeHeader(column) {
    const header = element("th", column.numeric ? "osiris-number" : "");
    if (!column.sort) {
      header.textContent = column.label;
      return header;
    }
    const here = model.get("sort") === column.sort, descending = model.get("descending");
    const arrow = here ? (descending ? " ▾" : " ▴") : "";
    header.setAttribute("aria-sort", here ? (descending ? "descending" : "ascending") : "none");
    const sort = () => model.send({ do: "sort", by: column.sort });
    header.append(button(column.label + arrow, "Sort by " + column.label, sort));
    return header;
  }

  function makeRow(id) {
    const line = element("tr", "osiris-idea"), box = element("input"), first = element("td");
    line.dataset.id = id;
    box.type = "checkbox";
    box.title = "Select (x); with shift, all from the last box";
    box.addEventListener("click", (event) => { event.stopPropagation(); selectTo(id, event.shiftKey); });
    first.append(box);
    const cells = model.get("columns").map((column) => element("td", classOf(column)));
    const approve = button("✅ Approve", "Approve (a)", () => decideHere("approval", id));
    const reject = button("❌ Reject", "Reject (r)", () => decideHere("rejection", id));
    const change = button("✏️ Edit", "Edit (e)", () => edit(id));
    const buttons = element("td", "osiris-acts");
    buttons.append(approve, reject, change);
    line.append(first, ...cells, buttons);
    line.addEventListener("click", () => { anchor = id; moveTo(id, true); });
    const under = element("tr", "osiris-under"), text = element("td");
    text.colSpan = cells.length + 2;
    under.append(text);
    return { line, cells, under, text, box, controls: [box, approve, reject, change] };
  }

  function fillRow(row, nodes) {
    model.get("columns").forEach((column, at) => {
      const cell = nodes.cells[at], value = row.cells[column.key];
      const done = column.key === "status" && row.tone === "saved" ? row.note : "";
      if (cell.textContent !== value + done) cell.replaceChildren(value, element("small", "", done));
      if (column.key === "rationale") cell.title = value;
      if (column.key === "status") cell.dataset.status = row.status;
      if (column.key === "side") cell.dataset.side = value;
    });
    const { text, tone } = noteUnder(row, sending.get(row.id)), isEditing = form !== null && form.id === row.id;
    nodes.line.dataset.status = row.status;
    nodes.under.dataset.tone = tone;
    if (!isEditing) nodes.text.textContent = text;
    else if (sending.get(row.id)?.isLate) form.update({ message: text, ok: false });
    nodes.under.hidden = !text && !isEditing;
  }

  function draw() {
    const wanted = ids();
    for (const [id, nodes] of shown) {
      if (!wanted.includes(id)) { nodes.line.remove(); nodes.under.remove(); shown.delete(id); }
    }
    let last = null;
    for (const row of rows()) {
      if (!shown.has(row.id)) shown.set(row.id, makeRow(row.id));
      const nodes = shown.get(row.id);
      fillRow(row, nodes);
      const after = last ? last.nextSibling : body.firstChild; // moving takes the focus away
      if (after !== nodes.line) body.insertBefore(nodes.line, after);
      if (nodes.line.nextSibling !== nodes.under) body.insertBefore(nodes.under, nodes.line.nextSibling);
      last = nodes.under;
    }
    if (!wanted.includes(cursor)) cursor = model.get("cursor");
    select([...selected()].filter(isOpenId)); // a row that was decided elsewhere can no longer be selected
    mark();
  }

  function sendFromForm(message) {
    if (message.do === "save") request("edit", [message.id], message);
    else model.send(message);
  }

  function drawForm() {
    const wanted = model.get("form");
    if (form && wanted.id !== form.id) {
      const { isLeft, id } = form;
      form = null;
      shown.get(id)?.text.replaceChildren();
      if (isLeft) root.focus(); // else no key of a person who still types may reach the table
    }
    if (wanted.id && !form && shown.has(wanted.id)) {
      form = makeForm(wanted, sendFromForm);
      const nodes = shown.get(wanted.id);
      nodes.text.replaceChildren(form.node);
      nodes.under.hidden = false;
      form.focus();
    }
    form?.update(wanted);
    draw();
  }

  // -- what comes from Python, and from the browser ------------------------------------------------------------------

  function onMessage(message) {
    if (message.do === "answered") receiveAnswer(message.ids);
    else decide(message.do, [...selected()]);
  }

  const leaving = (event) => { if (isUnsaved(rows(), sending)) event.preventDefault(); };
  const updateTheme = () => { if (isDark(root) !== model.get("dark")) set("dark", isDark(root)); };
  const themed = new MutationObserver(updateTheme);
  const placed = new ResizeObserver(updateTheme); // no colours before it is placed
  const show = () => {
    root.hidden = !model.get("is_fresh") && Date.now() / 1000 - model.get("created_at") > OLD_SECONDS;
  };
  root.addEventListener("keydown", onKey);
  root.addEventListener("mousedown", (event) => {
    if (!event.target.closest("input, button")) root.focus({ preventScroll: true });
  });
  window.addEventListener("beforeunload", leaving);
  themed.observe(document.body, { attributes: true, attributeFilter: ["data-jp-theme-light", "class"] });
  model.on("change:rows", draw);
  model.on("change:form", drawForm);
  model.on("change:selected", mark);
  model.on("change:sort change:descending", drawHead);
  model.on("change:cursor", () => { if (model.get("cursor") !== cursor) { cursor = model.get("cursor"); mark(); } });
  model.on("msg:custom", onMessage);
  model.on("change:is_fresh", show);
  drawHead();
  draw();
  show();
  placed.observe(root);
  model.send({ do: "opened" });
  return () => { themed.disconnect(); placed.disconnect(); window.removeEventListener("beforeunload", leaving); };
}

function classOf(column) {
  return column.numeric ? "osiris-number" : "osiris-" + column.key;
}

/** The empty table and the legend of its keys, put into `el`. */
function makeFrame(el) {
  const root = element("div", "osiris-advisory"), table = element("table"), scroll = element("div", "osiris-scroll");
  const head = element("thead"), body = element("tbody"), legend = element("div", "osiris-legend");
  root.tabIndex = 0;
  root.dataset.lmSuppressShortcuts = "true"; // the command mode of JupyterLab uses a, j, k, r for cells
  root.setAttribute("role", "region");
  root.setAttribute("aria-label", "Ideas to review; keys: " + LEGEND.map((key) => key.join(" ")).join(", "));
  for (const [keys, meaning] of LEGEND) {
    const item = element("span");
    item.append(...keys.split(" ").map((key) => element("kbd", "", key)), " " + meaning);
    legend.append(item);
  }
  table.append(head, body);
  scroll.append(table);
  root.append(scroll, legend);
  el.append(root);
  return { root, head, body };
}

export default { render };
