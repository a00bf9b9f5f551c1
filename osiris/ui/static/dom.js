// Functions that the scripts of all widgets share.

export function element(tag, className, text) {
  const node = document.createElement(tag);
  if (className) node.className = className;
  if (text !== undefined) node.textContent = text;
  return node;
}

export function button(text, title, act) {
  const node = element("button", "osiris-button", text);
  node.type = "button";
  node.title = title;
  node.addEventListener("click", (event) => { event.stopPropagation(); act(); });
  return node;
}

export function isDark(node) {
  // The first ancestor with a background that is not transparent decides; 0.299, 0.587, 0.114 give its luminance.
  for (let ancestor = node; ancestor; ancestor = ancestor.parentElement) {
    const parts = getComputedStyle(ancestor).backgroundColor.match(/[\d.]+/g);
    if (parts && (parts.length < 4 || Number(parts[3]) > 0)) {
      return 0.299 * parts[0] + 0.587 * parts[1] + 0.114 * parts[2] < 128;
    }
  }
  return false;
}

