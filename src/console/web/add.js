// A new source, step by step: what to write, where its URL goes at the vendor, and then what comes.

import { get, post } from "./api.js";
import { copy, field, h, link, say, verbatim } from "./dom.js";
import { may } from "./may.js";
import { refusalRows } from "./source.js";

const NAME = "[a-z0-9][a-z0-9_\\-]*";

const SECRET = {
  us: (draft) => ["Choose its secret: the command makes one in ", h("code", {}, draft.secret_file), ". It goes into the vendor's settings too."],
  vendor: (draft) => ["The vendor shows the secret once the URL is entered there. Write it into ", h("code", {}, draft.secret_file), "; nothing verifies until then."],
  public_key: (draft) => ["The vendor signs with a key of its own. Write its public key into ", h("code", {}, draft.secret_file), " first."],
  handed_over: (draft) => ["The vendor sends its secret to the URL. ", h("code", {}, `sluice handshake show ${draft.tenant}/${draft.source}`), " shows it once it came."],
};

function form(vendors, values) {
  const tenants = may.tenants();
  const element = h(
    "form",
    {
      class: "filter",
      onsubmit: (submit) => {
        submit.preventDefault();
        location.hash = `#/add?${new URLSearchParams(new FormData(element))}`;
      },
    },
    field("add-vendor", "Vendor", h("select", { id: "add-vendor", name: "vendor" }, vendors.map((vendor) => h("option", { value: vendor.name, selected: vendor.name === values.vendor }, vendor.name)))),
    field(
      "add-tenant",
      "Tenant",
      tenants
        ? h("select", { id: "add-tenant", name: "tenant" }, tenants.map((name) => h("option", { value: name, selected: name === values.tenant }, name)))
        : h("input", { id: "add-tenant", name: "tenant", required: true, maxlength: 64, pattern: NAME, autocomplete: "off", placeholder: "acme", value: values.tenant }),
    ),
    field("add-source", "Name", h("input", { id: "add-source", name: "source", required: true, maxlength: 64, pattern: NAME, autocomplete: "off", placeholder: "payments", value: values.source })),
    h("div", { class: "buttons" }, h("button", { class: "main" }, "Show the steps")),
  );
  return element;
}

/** What came since the page was opened, as it comes. */
function waiting(draft, since) {
  const place = h("div", { role: "status" });
  const name = `${draft.tenant}/${draft.source}`;
  let last = null;
  const look = async () => {
    const of = { tenant: draft.tenant, source: draft.source };
    const source = await get(`sources/${name}`).catch((error) => {
      if (error.status === 404) return null;
      throw error;
    });
    const [events, refused] = source ? await Promise.all([get("events", { ...of, since, limit: 1 }), get("refusals", { ...of, limit: 5 })]) : [{ items: [] }, []];
    const recent = refused.filter((row) => row.at >= since);
    const text = JSON.stringify([source !== null, events.items[0]?.id, recent]);
    if (text === last) return;
    last = text;
    const [event] = events.items;
    place.replaceChildren(
      ...(source === null
        ? [h("p", { class: "waits" }, `${name} is not in the running configuration yet.`), may.configure() && h("button", { onclick: reread }, "Read the configuration again")]
        : event
          ? [h("p", { class: "came" }, "The first event came: ", link(`#/event/${event.id}`, event.event_type), ". "), h("p", {}, link(`#/source/${name}`, `${name}, its secrets and its traffic`))]
          : [h("p", { class: "waits" }, `${name} is taken up. Waiting for its first event …`)]
      ).filter(Boolean),
      ...(recent.length ? [h("h3", {}, "Refused meanwhile"), refusalRows(recent)] : []),
    );
  };
  const reread = async () => {
    try {
      await post("reload", { reason: `the source ${name} was added` });
      await look();
    } catch (error) {
      say(error.message, true);
    }
  };
  return { place, look };
}

export async function add(main, _, values) {
  const vendors = await get("vendors");
  const since = new Date().toISOString();
  const head = [h("h1", { tabindex: -1 }, "Add a source"), h("p", { class: "lead" }, "Sources stand in the gateway's files, so that what deploys them stays the one truth. This page tells what to write, and where the URL goes; then it waits for what comes."), form(vendors, values)];
  if (!values.vendor || !values.tenant || !values.source) {
    main.replaceChildren(...head);
    return null;
  }
  const wanted = { tenant: values.tenant, source: values.source, vendor: values.vendor };
  const draft = { ...wanted, ...(await get("source-draft", wanted)) };
  const { place, look } = waiting(draft, since);
  await look();
  main.replaceChildren(
    ...head,
    ...(draft.exists ? [h("p", { class: "bad" }, `${draft.tenant}/${draft.source} is there already. Choose another name, or `, link(`#/source/${draft.tenant}/${draft.source}`, "look at it"), ".")] : []),
    guide(draft, place),
  );
  return () => look().catch((error) => say(error.message, true));
}

const guide = (draft, place) =>
  h(
    "ol",
    { class: "guide" },
    h(
      "li",
      {},
      h("h2", {}, "On the gateway's machine, beside sluice.toml"),
      verbatim("Command", draft.command),
      h("div", { class: "buttons" }, copy(draft.command, "Copy the command")),
      h("p", {}, SECRET[draft.secret_from](draft)),
      h("details", {}, h("summary", {}, `Or write it yourself, at the end of ${draft.file}`), verbatim("Text", draft.text), h("div", { class: "buttons" }, copy(draft.text, "Copy the text"))),
    ),
    h(
      "li",
      {},
      h("h2", {}, `At ${draft.vendor}`),
      h("p", {}, draft.setup),
      h("p", { class: "copied" }, h("code", {}, draft.url), copy(draft.url, "Copy the URL")),
      !draft.is_public && h("p", { class: "bad" }, "Vendors on the internet cannot call this address: set edge.public_url in sluice.toml to the one that leads here."),
    ),
    h("li", {}, h("h2", {}, "What comes"), place),
  );
