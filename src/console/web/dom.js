// Elements from code. Text is only ever text: nothing here takes markup.

const SVG = "http://www.w3.org/2000/svg";

function fill(element, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else element.setAttribute(name, value === true ? "" : String(value));
  }
  element.append(...children.flat(Infinity).filter((child) => child !== null && child !== undefined && child !== false));
  return element;
}

/** An element: `h("p", { class: "x" }, "text", child)`; attributes that begin with `on` are listeners. */
export const h = (tag, attributes = {}, ...children) => fill(document.createElement(tag), attributes, children);

/** An element of a picture. */
export const svg = (tag, attributes = {}, ...children) =>
  fill(document.createElementNS(SVG, tag), attributes, children);

/** Puts children into an element in place of what is there. */
export function put(element, ...children) {
  element.replaceChildren();
  return fill(element, {}, children);
}

/** Says something to who reads the page by ear or by eye. */
export function say(text, isBad = false) {
  const said = document.getElementById("said");
  said.replaceChildren(text ? h("p", { class: isBad ? "bad" : "good" }, text) : "");
}

/** Puts what `place` puts into `body`, and the focus back to the control of the same key. */
export function keepFocus(body, place) {
  const key = body.contains(document.activeElement) ? document.activeElement.dataset.key : null;
  place();
  if (key) body.querySelector(`[data-key="${CSS.escape(key)}"]`)?.focus();
}

/** A button that copies a text. */
export const copy = (text, label) =>
  h(
    "button",
    {
      type: "button",
      "data-key": label,
      onclick: async () => {
        try {
          await navigator.clipboard.writeText(text);
          say("Copied.");
        } catch {
          say("The browser does not let it be copied; mark it by hand.", true);
        }
      },
    },
    label,
  );

/** Asks for the reason of an act; resolves with it, or with null where it was called off. */
export function askReason(title, detail, verb) {
  const reason = h("input", { id: "reason", name: "reason", maxlength: 500, autocomplete: "off" });
  const dialog = h(
    "dialog",
    { "aria-labelledby": "ask-title" },
    h(
      "form",
      { method: "dialog" },
      h("h2", { id: "ask-title" }, title),
      detail && h("p", {}, detail),
      h("label", { for: "reason" }, "Why, for the audit"),
      reason,
      h(
        "div",
        { class: "buttons" },
        h("button", { value: "yes", class: "main" }, verb),
        h("button", { value: "no", formnovalidate: true }, "Cancel"),
      ),
    ),
  );
  document.body.append(dialog);
  dialog.showModal();
  reason.focus();
  return new Promise((resolve) => {
    dialog.addEventListener("close", () => {
      dialog.remove();
      resolve(dialog.returnValue === "yes" ? reason.value : null);
    });
  });
}

/** A control with its label and a hint. */
export const field = (id, label, control, hint) => h("div", { class: "field" }, h("label", { for: id }, label), control, hint && h("p", { class: "hint", id: `${id}-hint` }, hint));

/** A form that makes something: `send` is given what it says; what goes wrong is told, what went well empties it. */
export function maker(fields, button, send) {
  const form = h(
    "form",
    {
      class: "maker",
      onsubmit: async (submit) => {
        submit.preventDefault();
        button.disabled = true;
        try {
          await send(Object.fromEntries(new FormData(form)));
          form.reset();
        } catch (error) {
          say(error.message, true);
        } finally {
          button.disabled = false;
          form.dispatchEvent(new Event("input"));
        }
      },
    },
    fields,
    h("div", { class: "buttons" }, button),
  );
  return form;
}

/** A table with a caption that is read but not shown. */
export function table(caption, columns, rows, none) {
  if (rows.length === 0) return h("p", { class: "none" }, none);
  return h(
    "div",
    { class: "scroll" },
    h(
      "table",
      {},
      h("caption", { class: "unseen" }, caption),
      h("thead", {}, h("tr", {}, columns.map((column) => h("th", { scope: "col" }, column)))),
      h("tbody", {}, rows.map((cells) => h("tr", {}, cells.map((cell) => (cell instanceof Node && cell.nodeName === "TD" ? cell : h("td", {}, cell)))))),
    ),
  );
}

/** Names and values. */
export const facts = (pairs) =>
  h(
    "dl",
    { class: "facts" },
    pairs.filter(([, value]) => value !== null && value !== undefined && value !== "").map(([name, value]) => h("div", {}, h("dt", {}, name), h("dd", {}, value))),
  );

/** The word of a state with its colour. */
export const state = (word) => h("span", { class: `state ${word}` }, String(word).replaceAll("_", " "));

/** An id that can be followed. */
export const link = (href, text) => h("a", { href }, text);

/** Long text as it is, in a box that scrolls. */
export const verbatim = (label, text) => h("pre", { tabindex: 0, "aria-label": label }, text);
