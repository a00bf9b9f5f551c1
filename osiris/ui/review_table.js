// The table of ideas: rows, keys, the edit form. Every act of a person goes to Python as a message, and the rows are
// what Python sends. A text by a model or a person becomes a text node, never markup.

const KEYS = [
  ["j k", "next, previous"], ["a", "approve"], ["r", "reject"], ["e", "edit"], ["u", "undo"],
  ["x", "select"], ["shift+a shift+r", "approve, reject the selection"], ["n p", "next, previous page"],
];
const FIELDS = ["entry", "target", "stop", "confidence", "comment"];
const OLD_SECONDS = 3; // a page can be rendered long before a person opens it; older rows are hidden at first
const SETTLE_MS = 120; // while j is held down, no chart is drawn for the rows that it passes

function render({ model, el }) {
  const root = element("div", "osiris-advisory");
  root.tabIndex = 0;
  root.dataset.lmSuppressShortcuts = "true"; // the command mode of JupyterLab uses a, j, k, r for cells
  root.setAttribute("role", "region");
  root.setAttribute("aria-label", "Ideas to review; keys: " + KEYS.map((key) => key.join(" ")).join(", "));
  const table = element("table"), head = element("thead"), body = element("tbody");
  const legend = element("div", "osiris-legend");
  for (const [key, meaning] of KEYS) {
    const item = element("span");
    item.append(...key.split(" ").map((one) => element("kbd", "", one)), " " + meaning);
    legend.append(item);
  }
  const scroll = element("div", "osiris-scroll");
  table.append(head, body);
  scroll.append(table);
  root.append(scroll, legend);
  el.append(root);

  const shown = new Map(); // id -> the nodes of a row
  const sending = new Set(); // decided on here, not yet answered by Python
  let cursor = model.get("cursor"), settling = null, form = null;

  const rows = () => model.get("rows");
  const row = (id) => rows().find((one) => one.id === id);
  const chosen = () => new Set(model.get("selected"));
  const send = (message) => model.send(message);
  const open = (id) => { const one = row(id); return Boolean(one && one.pending && !sending.has(id)); };

  function set(name, value) {
    model.set(name, value);
    model.save_changes();
  }

  function choose(ids) {
    if (ids.length !== chosen().size || !ids.every((id) => chosen().has(id))) set("selected", ids);
  }

  function moveTo(id, now) {
    cursor = id;
    mark();
    const nodes = shown.get(id);
    if (nodes) nodes.line.scrollIntoView({ block: "nearest" });
    clearTimeout(settling);
    settling = setTimeout(() => set("cursor", id), now ? 0 : SETTLE_MS);
  }

  function step(by) {
    const ids = rows().map((one) => one.id);
    const at = ids.indexOf(cursor);
    const next = ids[Math.min(Math.max(at + by, 0), ids.length - 1)];
    if (next !== undefined) moveTo(next);
  }

  function decide(kind, ids) {
    const open_ones = ids.filter(open);
    if (!open_ones.length) return;
    open_ones.forEach((id) => sending.add(id));
    send({ do: kind, ids: open_ones });
    choose([...chosen()].filter(open));
    if (open_ones.includes(cursor)) {
      const all = rows().map((one) => one.id);
      const next = all.slice(all.indexOf(cursor) + 1).find(open);
      if (next !== undefined) moveTo(next);
    }
    mark();
  }

  function edit(id) {
    if (open(id)) { moveTo(id, true); send({ do: "edit", id }); }
  }

  function toggle(id, upTo) {
    const selected = chosen(), ids = rows().map((one) => one.id);
    const [from, to] = [ids.indexOf(upTo ? cursor : id), ids.indexOf(id)].sort((a, b) => a - b);
    const wanted = upTo ? true : !selected.has(id);
    for (const one of ids.slice(Math.max(from, 0), to + 1).filter(open)) {
      if (wanted) selected.add(one);
      else selected.delete(one);
    }
    choose([...selected]);
  }

  function mark() {
    const selected = chosen();
    for (const [id, nodes] of shown) {
      nodes.line.classList.toggle("osiris-cursor", id === cursor);
      nodes.line.setAttribute("aria-current", id === cursor ? "true" : "false");
      nodes.line.classList.toggle("osiris-sending", sending.has(id));
      nodes.box.checked = selected.has(id);
      for (const one of [nodes.approve, nodes.reject, nodes.edit, nodes.box]) one.disabled = !open(id);
    }
    const all = rows().filter((one) => open(one.id));
    const every = head.querySelector("input");
    if (every) every.checked = all.length > 0 && all.every((one) => selected.has(one.id));
  }

  function drawHead() {
    const line = element("tr"), selectAll = element("input"), cell = element("th");
    selectAll.type = "checkbox";
    selectAll.title = "Select all that are pending on this page";
    selectAll.addEventListener("change", () => {
      choose(selectAll.checked ? rows().map((one) => one.id).filter(open) : []);
    });
    cell.append(selectAll);
    line.append(cell);
    for (const column of model.get("columns")) {
      const header = element("th", column.numeric ? "osiris-number" : "");
      if (column.sort) {
        const here = model.get("sort") === column.sort;
        const mark = here ? (model.get("descending") ? " ▾" : " ▴") : "";
        header.setAttribute("aria-sort", here ? (model.get("descending") ? "descending" : "ascending") : "none");
        const sort = () => send({ do: "sort", by: column.sort });
        header.append(button(column.label + mark, "Sort by " + column.label, sort));
      } else header.textContent = column.label;
      line.append(header);
    }
    line.append(element("th", "", ""));
    head.replaceChildren(line);
  }

  function makeRow(id) {
    const line = element("tr", "osiris-idea"), box = element("input"), first = element("td");
    line.dataset.id = id;
    box.type = "checkbox";
    box.title = "Select (x); with shift, all up to here";
    box.addEventListener("click", (event) => { event.stopPropagation(); toggle(id, event.shiftKey); });
    first.append(box);
    const classOf = (column) => (column.numeric ? "osiris-number" : "osiris-" + column.key);
    const cells = model.get("columns").map((column) => element("td", classOf(column)));
    const approve = button("✅ Approve", "Approve (a)", () => decide("approval", [id]));
    const reject = button("❌ Reject", "Reject (r)", () => decide("rejection", [id]));
    const edit_ = button("✏️ Edit", "Edit (e)", () => edit(id));
    const acts = element("td", "osiris-acts");
    acts.append(approve, reject, edit_);
    line.append(first, ...cells, acts);
    line.addEventListener("click", () => moveTo(id, true));
    const under = element("tr", "osiris-under"), text = element("td");
    text.colSpan = cells.length + 2;
    under.append(text);
    return { line, box, cells, approve, reject, edit: edit_, under, text };
  }

  function draw() {
    sending.clear();
    const wanted = rows(), ids = new Set(wanted.map((one) => one.id));
    for (const [id, nodes] of shown) {
      if (!ids.has(id)) { nodes.line.remove(); nodes.under.remove(); shown.delete(id); }
    }
    let last = null;
    for (const one of wanted) {
      if (!shown.has(one.id)) shown.set(one.id, makeRow(one.id));
      const nodes = shown.get(one.id);
      model.get("columns").forEach((column, at) => {
        const cell = nodes.cells[at], value = one.cells[column.key];
        const done = column.key === "status" && one.tone === "saved" ? one.note : "";
        if (cell.textContent !== value + done) cell.replaceChildren(value, element("small", "", done));
        if (column.key === "rationale") cell.title = value;
        if (column.key === "status") cell.dataset.status = one.status;
        if (column.key === "side") cell.dataset.side = value;
      });
      nodes.line.dataset.status = one.status;
      nodes.under.dataset.tone = one.tone;
      const said = one.tone === "saved" ? "" : one.note, editing = form && form.id === one.id;
      if (!editing) nodes.text.textContent = said;
      nodes.under.hidden = !said && !editing;
      const after = last ? last.nextSibling : body.firstChild; // moving takes the focus away
      if (after !== nodes.line) body.insertBefore(nodes.line, after);
      if (nodes.line.nextSibling !== nodes.under) body.insertBefore(nodes.under, nodes.line.nextSibling);
      last = nodes.under;
    }
    if (!ids.has(cursor)) cursor = model.get("cursor");
    choose([...chosen()].filter(open)); // a row that was decided elsewhere can no longer be selected
    mark();
  }

  function drawForm() {
    const wanted = model.get("form");
    if (form && (!wanted.id || wanted.id !== form.id)) {
      const nodes = shown.get(form.id);
      form = null;
      if (nodes) nodes.text.replaceChildren();
      root.focus();
    }
    if (wanted.id && !form && shown.has(wanted.id)) form = makeForm(wanted);
    if (form) {
      form.message.textContent = wanted.message;
      form.save.disabled = !wanted.ok;
    }
    draw();
  }

  function makeForm(wanted) {
    const opened = { id: wanted.id, inputs: {}, message: element("span", "osiris-message") };
    const box = element("div", "osiris-form");
    const values = () => Object.fromEntries(FIELDS.map((name) => [name, opened.inputs[name].value]));
    const save = () => send({ do: "save", id: opened.id, values: values() });
    for (const name of FIELDS) {
      const label = element("label", "", name), input = element("input", "osiris-field-" + name);
      input.value = wanted.values[name];
      input.inputMode = name === "comment" ? "text" : "decimal";
      input.addEventListener("input", () => {
        opened.save.disabled = true; // until Python has checked what was typed
        send({ do: "typed", id: opened.id, values: values() });
      });
      label.append(input);
      box.append(label);
      opened.inputs[name] = input;
    }
    opened.save = button("💾 Save", "Save (Enter)", save);
    opened.submit = save;
    box.append(opened.save, button("Cancel", "Leave it as it is (Esc)", () => send({ do: "cancel" })), opened.message);
    const nodes = shown.get(wanted.id);
    nodes.text.replaceChildren(box);
    nodes.under.hidden = false;
    opened.inputs.target.focus();
    opened.inputs.target.select();
    return opened;
  }

  const acts = {
    j: () => step(+1), ArrowDown: () => step(+1), k: () => step(-1), ArrowUp: () => step(-1),
    a: () => decide("approval", [cursor]), r: () => decide("rejection", [cursor]), e: () => edit(cursor),
    x: () => toggle(cursor, false), u: () => send({ do: "undo" }),
    A: () => decide("approval", [...chosen()]), R: () => decide("rejection", [...chosen()]),
    n: () => send({ do: "turn", by: +1 }), p: () => send({ do: "turn", by: -1 }),
  };
  const moving = new Set(["j", "k", "ArrowDown", "ArrowUp"]);

  root.addEventListener("keydown", (event) => {
    event.stopPropagation();
    const typing = event.target.matches("input:not([type=checkbox])");
    if (typing) {
      if (event.key === "Enter") { event.preventDefault(); form.submit(); }
      if (event.key === "Escape") { event.preventDefault(); send({ do: "cancel" }); }
      return;
    }
    if (event.ctrlKey || event.metaKey || event.altKey || !acts[event.key]) return;
    event.preventDefault();
    if (event.repeat && !moving.has(event.key)) return; // a key held down decides once
    acts[event.key]();
  });
  root.addEventListener("mousedown", (event) => {
    if (!event.target.closest("input, button")) root.focus({ preventScroll: true });
  });

  const leaving = (event) => { if (rows().some((one) => one.tone === "waiting")) event.preventDefault(); };
  const updateTheme = () => { if (isDark(root) !== model.get("dark")) set("dark", isDark(root)); };
  const themed = new MutationObserver(updateTheme);
  const placed = new ResizeObserver(updateTheme); // no colours before it is placed
  window.addEventListener("beforeunload", leaving);
  themed.observe(document.body, { attributes: true, attributeFilter: ["data-jp-theme-light", "class"] });
  model.on("change:rows", draw);
  model.on("change:form", drawForm);
  model.on("change:selected", mark);
  model.on("change:sort change:descending", drawHead);
  model.on("change:cursor", () => { if (model.get("cursor") !== cursor) { cursor = model.get("cursor"); mark(); } });
  model.on("msg:custom", (message) => decide(message.do, [...chosen()]));
  const show = () => {
    root.hidden = !model.get("is_fresh") && Date.now() / 1000 - model.get("created_at") > OLD_SECONDS;
  };
  model.on("change:is_fresh", show);
  drawHead();
  draw();
  show();
  placed.observe(root);
  send({ do: "opened" });
  return () => { themed.disconnect(); placed.disconnect(); window.removeEventListener("beforeunload", leaving); };
}

export default { render };
