// One source: where its vendor delivers, its secrets and their rotation, what came of late.

import { get, post } from "./api.js";
import { askReason, copy, facts, h, keepFocus, link, put, say, state, table, verbatim } from "./dom.js";
import { may } from "./may.js";
import { exact, when } from "./time.js";
import { charts } from "./traffic.js";

const STANDING = {
  awaits_newest: "keep it: the newest has verified nothing yet",
  in_use: "keep it: the vendor still signs with it",
  overlaps: "keep it until the newest has verified for 24 hours: what was signed before may be sent again",
  safe_to_retire: "safe to retire: the newest has verified for 24 hours, this one nothing since",
  expired: "it verifies nothing any more; take it out of the file",
  revoked: "it verifies nothing, under whatever name this source has it",
};

/** Takes a secret out of use, or puts it back. */
function revoking(source, secret, again) {
  const name = `${source.tenant}/${source.source}`;
  const [verb, path, detail] =
    secret.standing === "revoked"
      ? ["Put back", "unrevoke", "It verifies again on every node within 5 seconds, as its window says."]
      : ["Revoke", "revoke", "It verifies nothing more on any node within 5 seconds, under whatever name this source has it, over restarts."];
  const press = async () => {
    const reason = await askReason(`${verb} ${secret.version} of ${name}?`, detail, verb);
    if (reason === null) return;
    try {
      const { also = [] } = await post(`sources/${name}/secrets/${path}`, { version: secret.version, reason });
      const others = also.length ? ` ${also.join(", ")} has the very same secret and still takes it: revoke it there too.` : "";
      say(`${secret.version}: done.${others}`);
    } catch (error) {
      say(error.message, true);
    }
    await again();
  };
  return h("button", { "aria-label": `${verb} ${secret.version}`, "data-key": `${path} ${secret.version}`, onclick: press }, verb);
}

/** How often a secret verified. Deliveries are added up once a minute; that one came is known at once. */
function verified({ uses, last_used_at }) {
  if (uses === 0 && last_used_at) return "counted within a minute";
  return uses === 1 ? "1 delivery" : `${uses.toLocaleString("en")} deliveries`;
}

/** A table of refused deliveries, and why they did not verify. */
export const refusalRows = (rows) =>
  table(
    "Refused deliveries, newest first",
    ["When", "Reason", "What was found", "From"],
    rows.map((row) => [when(row.at), state(row.reason), h("td", { class: "why" }, row.hint || "–"), row.peer]),
    "No delivery was refused.",
  );

function rotation(source) {
  const [newest, ...older] = source.secrets;
  const next = `file:secrets/${source.tenant}-${source.source}-2`;
  const listed = [next, newest?.version].filter(Boolean).map((name) => JSON.stringify(name)).join(", ");
  const old = older.find((secret) => !["expired", "revoked"].includes(secret.standing));
  return [
    h("h2", {}, "Rotate its secret"),
    h(
      "ol",
      { class: "guide" },
      h("li", {}, h("code", {}, `sluice secret rotate ${source.tenant}/${source.source}`), " does the first step and the last for secrets in files, in Vault and in AWS Secrets Manager. By hand:"),
      h("li", {}, "Put the new secret where only the gateway reads it, and name it before the one there is; at most three are named. The gateway takes the file up by itself.", verbatim(`In tenants/${source.tenant}.toml`, `[sources.${source.source}]\nsecrets = [${listed}]`)),
      h("li", {}, "Give it to the vendor. ", source.setup),
      h("li", {}, "Wait until the table above counts deliveries of the newest secret", old ? ` and says of ${old.version} that it is safe to retire.` : ", and says of the other that it is safe to retire."),
      h("li", {}, "Take the old one out of the file, and destroy it."),
    ),
  ];
}

export async function source(main, id) {
  const [tenant, name] = id.split("/");
  const body = h("div", {});
  const drawn = h("div", {});
  let last = null;
  const render = async () => {
    const of = { tenant, source: name };
    const [found, refused, events, traffic] = await Promise.all([
      get(`sources/${encodeURIComponent(tenant)}/${encodeURIComponent(name ?? "")}`),
      get("refusals", { ...of, limit: 5 }),
      get("events", { ...of, limit: 1 }),
      get("traffic", of),
    ]);
    drawn.replaceChildren(charts(traffic.points));
    const text = JSON.stringify([found, refused, events]);
    if (text === last) return;
    last = text;
    keepFocus(body, () =>
      put(
        body,
        h("h1", { tabindex: -1 }, `${found.tenant}/${found.source}`),
        facts([
          ["Vendor", found.vendor],
          ["State", state(found.enabled ? "enabled" : "disabled")],
          ["URL", h("span", { class: "copied" }, h("code", {}, found.url), copy(found.url, "Copy the URL"))],
          ["At the vendor", found.setup],
          ["Newest event", events.items[0] ? h("span", {}, link(`#/event/${events.items[0].id}`, events.items[0].event_type), " ", when(events.items[0].received_at)) : "none yet"],
          ["Signed times may differ by", `${found.tolerance_seconds} s`],
        ]),
        h("h2", {}, "Secrets"),
        table(
          "Secrets, newest first",
          ["Reference", "Verified", "First", "Last", "Until", "What to do", ...(may.manage() ? ["Act"] : [])],
          found.secrets.map((secret) => [
            h("td", { class: "id" }, secret.version),
            verified(secret),
            secret.first_used_at ? exact(secret.first_used_at) : "–",
            secret.last_used_at ? when(secret.last_used_at) : "never",
            secret.not_after ? when(secret.not_after) : "it is removed",
            h("td", { class: "why" }, state(secret.standing), secret.standing !== "newest" && ` ${STANDING[secret.standing]}`),
            ...(may.manage() ? [revoking(found, secret, again)] : []),
          ]),
          "It has none: it waits for the one that the vendor hands over.",
        ),
        rotation(found),
        h("h2", {}, "Routes"),
        table(
          "Routes",
          ["Route", "Event types", "Action"],
          found.routes.map((route) => [route.name, route.event_types.join(", ") || "all", route.action]),
          "None: its events are stored and wait.",
        ),
        h("h2", {}, "Refused of late"),
        refusalRows(refused),
        refused.length > 0 && h("p", {}, link(`#/refusals?tenant=${tenant}&source=${name}`, "All of them, with their requests")),
      ),
    );
  };
  const again = () => render().catch((error) => say(error.message, true));
  await render();
  main.replaceChildren(body, h("h2", {}, "Traffic of the last hour"), drawn);
  return again;
}
