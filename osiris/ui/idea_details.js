// What stands beside an idea: a picture and small tables. Everything written becomes a text node, never markup.

function tableOf({ title, empty, columns, rows }) {
  const box = element("section"), table = element("table");
  box.append(element("h4", "", title));
  if (!rows.length) {
    box.append(element("p", "osiris-empty", empty));
    return box;
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
  box.append(table);
  return box;
}

function render({ model, el }) {
  const root = element("div", "osiris-dossier");
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
    right.append(...model.get("tables").map(tableOf));
    root.replaceChildren(left, right);
    root.hidden = !model.get("title");
  }

  model.on("change:serial", draw);
  draw();
  return () => { if (url) URL.revokeObjectURL(url); };
}

export default { render };
