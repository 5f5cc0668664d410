// Users, tokens, and one's own password.

import { del, post } from "./api.js";
import { askReason, copy, field, h, maker, say, state, table, verbatim } from "./dom.js";
import { may } from "./may.js";
import { when } from "./time.js";

const ROLES = ["viewer", "operator", "admin"];
const SEES = {
  viewer: "viewer: sees all but payloads",
  operator: "operator: also payloads, and acts",
  admin: "admin: also decides who may",
  site: "site: a WordPress site",
};

const whom = (row) => (row.tenants === null ? "all" : row.tenants.join(", "));

function act(verb, name, title, detail, order, again) {
  const press = async () => {
    const reason = await askReason(title, detail, verb);
    if (reason === null) return;
    try {
      await order(reason);
      say(`${name}: ${verb.toLowerCase()} is done.`);
    } catch (error) {
      say(error.message, true);
    }
    await again();
  };
  return h("button", { "aria-label": `${verb} ${name}`, "data-key": `${verb} ${name}`, onclick: press }, verb);
}

const roles = (id, names) => h("select", { id, name: "role" }, names.map((name) => h("option", { value: name }, SEES[name])));
const tenants = (id) => h("input", { id, name: "tenants", autocomplete: "off", "aria-describedby": `${id}-hint`, required: !may.whole() });
const TENANTS_HINT = "Names with commas between; empty: all.";

/** A form in a panel; `send` is given what it says, its tenants as the API takes them. */
function adder(title, verb, fields, send) {
  const form = maker(fields, h("button", { class: "main" }, verb), (values) => {
    const named = values.tenants.split(",").map((name) => name.trim()).filter(Boolean);
    return send({ ...values, tenants: named.length ? named : null });
  });
  return h("details", { class: "panel" }, h("summary", {}, h("h2", {}, title)), form);
}

export const users = {
  name: "users",
  title: "Users",
  lead: "Who may sign in here. Whoever sees only some tenants manages only who sees no more.",
  path: "users",
  fields: [],
  aside: (_, again) =>
    adder(
      "Add a user",
      "Add",
      [
        field("user-name", "Name", h("input", { id: "user-name", name: "name", required: true, maxlength: 64, autocomplete: "off", pattern: "[A-Za-z0-9][A-Za-z0-9._@\\-]*" })),
        field("user-password", "First password", h("input", { id: "user-password", name: "password", type: "password", required: true, minlength: 12, autocomplete: "new-password", "aria-describedby": "user-password-hint" }), "At least 12 characters; they change it under their name, above."),
        field("user-role", "Role", roles("user-role", ROLES)),
        field("user-tenants", "Tenants", tenants("user-tenants"), TENANTS_HINT),
        field("user-reason", "Why, for the audit", h("input", { id: "user-reason", name: "reason", maxlength: 500, autocomplete: "off" })),
      ],
      async (values) => {
        const user = await post("users", values);
        say(`${user.name} may sign in.`);
        await again();
      },
    ),
  rows: (items, again) =>
    table(
      "Users, by name",
      ["Name", "Role", "Tenants", "State", "Signed in last", "Added", "Act"],
      items.map((user) => [
        user.name,
        user.role,
        whom(user),
        state(user.disabled_at ? "disabled" : "enabled"),
        user.used_at ? when(user.used_at) : "never",
        when(user.created_at),
        h(
          "div",
          { class: "acts" },
          user.disabled_at
            ? act("Enable", user.name, `Let ${user.name} sign in again?`, null, (reason) => post(`users/${user.name}/enable`, { reason }), again)
            : act("Disable", user.name, `Let ${user.name} not sign in?`, "Their sessions end now. Nothing else is lost.", (reason) => post(`users/${user.name}/disable`, { reason }), again),
          act("Remove", user.name, `Remove ${user.name}?`, "Their sessions end now. The audit keeps their name.", (reason) => del(`users/${user.name}`, { reason }), again),
        ),
      ]),
      "Nobody yet.",
    ),
};

const ended = (token) => (token.revoked_at ? "revoked" : token.expires_at && Date.parse(token.expires_at) <= Date.now() ? "expired" : "valid");

export const tokens = {
  name: "tokens",
  title: "Tokens",
  lead: "What programs present to the API. A token's secret is shown once, when it is made.",
  path: "tokens",
  fields: [],
  aside: (_, again) => {
    const made = h("div", { role: "status" });
    return h(
      "div",
      {},
      adder(
        "Make a token",
        "Make",
        [
          field("token-name", "What it is for", h("input", { id: "token-name", name: "name", required: true, maxlength: 64, autocomplete: "off", pattern: "[A-Za-z0-9][A-Za-z0-9._@\\-]*" })),
          field("token-role", "Role", roles("token-role", [...ROLES, "site"])),
          field("token-tenants", "Tenants", tenants("token-tenants"), TENANTS_HINT),
          field("token-days", "Days it lasts", h("input", { id: "token-days", name: "days", type: "number", min: 1, max: 3650, value: 90, required: true })),
          field("token-reason", "Why, for the audit", h("input", { id: "token-reason", name: "reason", maxlength: 500, autocomplete: "off" })),
        ],
        async (values) => {
          const { token, secret } = await post("tokens", { ...values, days: Number(values.days) });
          made.replaceChildren(
            h(
              "section",
              { class: "panel once", "aria-labelledby": "made-title" },
              h("h2", { id: "made-title" }, `The secret of ${token.name}`),
              h("p", {}, "It is shown this once. Whoever has it may do what the token may."),
              verbatim("Secret", secret),
              h("div", { class: "buttons" }, copy(secret, "Copy the secret"), h("button", { onclick: () => made.replaceChildren() }, "I have it")),
            ),
          );
          made.querySelector("button").focus();
          await again();
        },
      ),
      made,
    );
  },
  rows: (items, again) =>
    table(
      "Tokens, newest first",
      ["Name", "Role", "Tenants", "State", "Expires", "Presented last", "Made", "Act"],
      items.map((token) => [
        token.name,
        token.role,
        whom(token),
        state(ended(token)),
        token.expires_at ? when(token.expires_at) : "never",
        token.used_at ? when(token.used_at) : "never",
        when(token.created_at),
        ended(token) === "valid" ? act("Revoke", token.name, `Revoke ${token.name}?`, "Whoever presents it is refused from now on. It cannot be undone.", (reason) => del(`tokens/${token.id}`, { reason }), again) : "",
      ]),
      "There is none.",
    ),
};

/** One's own account. */
export async function account(main) {
  const password = (id, label, autocomplete, hint) => field(id, label, h("input", { id, name: id, type: "password", required: true, minlength: id === "password" ? null : 12, autocomplete, "aria-describedby": hint ? `${id}-hint` : null }), hint);
  const form = maker(
    [
      password("password", "The password you have", "current-password"),
      password("new_password", "A new one", "new-password", "At least 12 characters."),
      password("again", "Once more", "new-password"),
    ],
    h("button", { class: "main" }, "Change it"),
    async (values) => {
      if (values.new_password !== values.again) throw new Error("The new password is not the same twice.");
      await post("session/password", { password: values.password, new_password: values.new_password });
      say("The password is changed; your other sessions are over.");
    },
  );
  main.replaceChildren(h("h1", { tabindex: -1 }, "Your password"), h("section", { class: "panel", "aria-label": "Change your password" }, form));
  return null;
}
