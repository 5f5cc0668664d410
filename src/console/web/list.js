// A page with a filter, a table and pages of it. The filter is in the address, so that a view can be sent.

import { get } from "./api.js";
import { h, keepFocus, say } from "./dom.js";
import { age } from "./time.js";

function field(spec, value) {
  const id = `filter-${spec.name}`;
  const input = spec.options
    ? h("select", { id, name: spec.name }, h("option", { value: "" }, spec.none ?? "all"), spec.options.map((option) => h("option", { value: option, selected: option === value }, spec.words?.[option] ?? option.replaceAll("_", " "))))
    : h("input", { id, name: spec.name, value, type: spec.type ?? "search", placeholder: spec.hint, autocomplete: "off" });
  return h("div", { class: "field" }, h("label", { for: id }, spec.label), input);
}

/** Builds the page into `main`; returns what looks again. `page` has title, path, fields, rows(page), and more. */
export async function list(main, page, values) {
  const body = h("div", { class: "rows", "aria-busy": "true" });
  const form = h(
    "form",
    {
      class: "filter",
      role: "search",
      onsubmit: (event) => {
        event.preventDefault();
        const set = [...new FormData(form)].filter(([, value]) => value !== "");
        location.hash = `#/${page.name}${set.length ? `?${new URLSearchParams(set)}` : ""}`;
      },
    },
    page.fields.map((spec) => field(spec, values[spec.name] ?? "")),
    page.fields.length > 0 && h("div", { class: "buttons" }, h("button", { class: "main" }, "Filter"), h("a", { class: "button", href: `#/${page.name}` }, "Clear")),
  );
  main.replaceChildren(...[h("h1", { tabindex: -1 }, page.title), page.lead && h("p", { class: "lead" }, page.lead), form, page.aside?.(values, () => again()), body].filter(Boolean));
  const cursors = [null];
  let last = null;
  const render = async () => {
    const cursor = cursors.at(-1);
    const found = await get(page.path, { ...page.query, ...values, cursor });
    const rows = Array.isArray(found) ? { items: found, next: null } : (page.read?.(found) ?? found);
    const text = JSON.stringify(rows);
    if (text === last) {
      age(body);
      return;
    }
    last = text;
    const turn = (act) => async () => {
      act();
      await again();
      main.querySelector("h1").focus();
    };
    keepFocus(body, () =>
      body.replaceChildren(
        page.rows(rows.items, again),
        h(
          "div",
          { class: "pages" },
          cursors.length > 1 && h("button", { "data-key": "back", onclick: turn(() => cursors.pop()) }, "Back"),
          rows.next && h("button", { "data-key": "more", onclick: turn(() => cursors.push(rows.next)) }, "More"),
        ),
      ),
    );
    body.setAttribute("aria-busy", "false");
  };
  const again = async () => {
    // What is being typed or chosen is not taken away.
    if (body.contains(document.activeElement) && document.activeElement.matches("input, select")) return;
    try {
      await render();
    } catch (error) {
      say(error.message, true);
    }
  };
  await render();
  return again;
}
