// The console: which page is shown, who is signed in, how it is kept fresh.

import { account as own, tokens, users } from "./accounts.js";
import { add } from "./add.js";
import { provider, signIn, signOut, toProvider, whoami } from "./api.js";
import { h, say } from "./dom.js";
import { event, job } from "./event.js";
import { events, quarantine, refusals } from "./events.js";
import { dead, jobs } from "./jobs.js";
import { lanes } from "./lanes.js";
import { list } from "./list.js";
import * as live from "./live.js";
import { may } from "./may.js";
import { source } from "./source.js";
import { audit, sources } from "./sources.js";
import { subjects } from "./subjects.js";
import { traffic } from "./traffic.js";

const main = document.getElementById("main");
const nav = document.getElementById("nav");
const account = document.getElementById("account");

const PAGES = [lanes, traffic, events, jobs, dead, quarantine, refusals, sources, subjects, audit, users, tokens];
/** Pages that not everybody may see. */
const ONLY = { subjects: may.manage, audit: may.audit, users: may.manage, tokens: may.manage, add: may.operate };
const DETAILS = {
  event: { show: event, of: "events", title: "Event" },
  job: { show: job, of: "jobs", title: "Job" },
  source: { show: source, of: "sources", title: "Source" },
  add: { show: add, of: "sources", title: "Add a source" },
  account: { show: own, title: "Your password" },
};

let who = null;
let turn = 0;
let moved = false;

function theme() {
  const themes = ["system", "light", "dark"];
  const set = (name) => {
    if (name === "system") document.documentElement.removeAttribute("data-theme");
    else document.documentElement.dataset.theme = name;
  };
  let now = localStorage.getItem("theme") ?? "system";
  set(now);
  const button = h("button", {
    onclick: () => {
      now = themes[(themes.indexOf(now) + 1) % themes.length];
      localStorage.setItem("theme", now);
      set(now);
      button.textContent = `Colours: ${now}`;
      // Pictures have the colours that they were drawn with.
      show();
    },
  }, `Colours: ${now}`);
  return button;
}

function bar(current) {
  if (!who) {
    nav.replaceChildren();
    account.replaceChildren(theme());
    return;
  }
  const pages = PAGES.filter((page) => ONLY[page.name]?.() ?? true);
  nav.replaceChildren(h("ul", {}, pages.map((page) => h("li", {}, h("a", { href: `#/${page.name}`, "aria-current": page.name === current ? "page" : null }, page.title)))));
}

function signedIn() {
  const fresh = h("span", { class: "fresh", title: "How this page is kept up to date" }, "…");
  account.replaceChildren(
    fresh,
    h("a", { class: "who", href: "#/account", title: "Change your password" }, `${who.actor.replace(/^user:/, "")}, ${who.role}${who.tenants ? ` of ${who.tenants.join(", ")}` : ""}`),
    theme(),
    h("button", { onclick: leave }, "Sign out"),
  );
  live.start((how) => {
    fresh.textContent = how;
    fresh.className = `fresh ${how}`;
  });
}

async function leave() {
  try {
    await signOut();
  } catch (error) {
    say(error.message, true);
    return;
  }
  forget();
}

function forget() {
  live.stop();
  live.watch(null);
  who = may.is(null) ?? null;
  show();
}

function door() {
  document.title = "Sign in – Sluice";
  const name = h("input", { id: "name", name: "name", autocomplete: "username", required: true, maxlength: 64 });
  const password = h("input", { id: "password", name: "password", type: "password", autocomplete: "current-password", required: true });
  const button = h("button", { class: "main" }, "Sign in");
  const offered = h("p", {});
  provider()
    .then((label) => label && offered.replaceChildren(h("a", { class: "button", href: toProvider() }, `Sign in with ${label}`)))
    // Who has a password needs no provider.
    .catch(() => {});
  main.replaceChildren(
    h(
      "form",
      {
        class: "door",
        onsubmit: async (submit) => {
          submit.preventDefault();
          button.disabled = true;
          try {
            who = await signIn(name.value, password.value);
            may.is(who);
            say("");
            signedIn();
            await show();
          } catch (error) {
            say(error.message, true);
            password.value = "";
            password.focus();
          } finally {
            button.disabled = false;
          }
        },
      },
      h("h1", { tabindex: -1 }, "Sign in"),
      h("label", { for: "name" }, "Name"),
      name,
      h("label", { for: "password" }, "Password"),
      password,
      button,
      offered,
      h("p", { class: "lead" }, "An admin adds users with ", h("code", {}, "sluice user add"), "."),
    ),
  );
  name.focus();
}

function where() {
  const [path, search = ""] = location.hash.replace(/^#\/?/, "").split("?");
  const [name = "", ...id] = path.split("/");
  return { name: name || "lanes", id: id.join("/"), values: Object.fromEntries(new URLSearchParams(search)) };
}

async function show() {
  const mine = ++turn;
  live.watch(null);
  if (!who) {
    bar(null);
    door();
    return;
  }
  const { name, id, values } = where();
  const page = PAGES.find((page) => page.name === name);
  const detail = DETAILS[name];
  bar(page?.name ?? detail?.of);
  document.title = `${page?.title ?? detail?.title ?? name} – Sluice`;
  const stage = h("div", { class: "stage" });
  try {
    const refused = ONLY[name] && !ONLY[name]();
    const again = refused ? null : page?.show ? await page.show(stage, values) : page ? await list(stage, page, values) : detail ? await detail.show(stage, id, values) : null;
    // Another page was asked for meanwhile.
    if (mine !== turn) return;
    if (!stage.firstChild) stage.replaceChildren(h("h1", { tabindex: -1 }, "There is no such page"));
    main.replaceChildren(stage);
    live.watch(again);
  } catch (error) {
    if (mine !== turn || !who) return;
    main.replaceChildren(h("h1", { tabindex: -1 }, "This cannot be shown"), h("p", { class: "bad" }, error.message));
  }
  if (moved) {
    // Who hears the page is told where they are now.
    main.querySelector("h1")?.focus({ preventScroll: true });
    scrollTo(0, 0);
  }
}

window.addEventListener("hashchange", () => {
  moved = true;
  say("");
  show();
});
window.addEventListener("signed-out", () => who && (say("You are signed out."), forget()));
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => who && show());
document.querySelector(".skip").addEventListener("click", (click) => {
  // The address names the page; the jump is made by hand.
  click.preventDefault();
  main.focus();
});

try {
  who = await whoami();
} catch (error) {
  say(error.message, true);
}
may.is(who);
if (who) signedIn();
await show();
