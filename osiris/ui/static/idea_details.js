// The details of an idea: a picture and small tables. Every text becomes a text node, never markup.

import { element } from "./dom.js";

function makeTable({ title, empty, columns, rows }) {
  const section = element("section"), table = element("table");
  section.append(element("h4", "", title));
  if (!rows.length) {
    section.append(element("p", "osiris-empty", empty));
    return section;
  }
  const head = element("tr");
  head.append(...columns.map((name) => element("th", "", name)));
  table.append(head);
  for (const { cells, tone } of rows) {
    const line = element("tr");
    line.dataset.tone = tone;
    line.append(...cells.map((text) => element("td", "", text)));
    table.append(line);
  }
  section.append(table);
  return section;
}

function render({ model, el }) {
  const root = element("div", "osiris-idea-details");
  el.append(root);
  let url = null;

  function draw() {
    if (url) URL.revokeObjectURL(url);
    url = null;
    const left = element("div", "osiris-picture"), right = element("div", "osiris-facts");
    left.append(element("h4", "", model.get("title")));
    const picture = model.get("picture");
    if (picture && picture.byteLength) {
      const image = element("img");
      image.alt = model.get("title");
      image.src = url = URL.createObjectURL(new Blob([picture], { type: "image/png" }));
      left.append(image);
    } else left.append(element("p", "osiris-empty", model.get("empty_text")));
    right.append(...model.get("tables").map(makeTable));
    root.replaceChildren(left, right);
    root.hidden = !model.get("title");
  }

  model.on("change:serial", draw);
  draw();
  return () => { if (url) URL.revokeObjectURL(url); };
}

export default { render };
