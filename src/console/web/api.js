// Talks to the API of this gateway.

let csrf = null;

/** What went wrong, in the gateway's words. */
export class Refused extends Error {
  constructor(status, message) {
    super(message);
    this.status = status;
  }
}

/** The gateway's answer; throws what it refused. */
async function ask(method, path, body) {
  const headers = {};
  if (csrf && method !== "GET") headers["x-sluice-csrf"] = csrf;
  if (body !== undefined) headers["content-type"] = "application/json";
  let answer;
  try {
    answer = await fetch(`/api/v1/${path}`, {
      method,
      headers,
      body: body === undefined ? undefined : JSON.stringify(body),
      credentials: "same-origin",
      cache: "no-store",
    });
  } catch {
    throw new Refused(0, "The gateway does not answer.");
  }
  if (!answer.ok) {
    const value = await answer.json().catch(() => null);
    if (answer.status === 401 && !path.startsWith("session")) window.dispatchEvent(new Event("signed-out"));
    throw new Refused(answer.status, value?.message ?? `The gateway answered ${answer.status}.`);
  }
  return answer;
}

const call = async (method, path, body) => (await ask(method, path, body)).json().catch(() => null);

/** A query of the values that are set. */
export function query(values) {
  const set = Object.entries(values).filter(([, value]) => value !== "" && value !== null && value !== undefined);
  const text = new URLSearchParams(set).toString();
  return text ? `?${text}` : "";
}

export const get = (path, values = {}) => call("GET", path + query(values));
export const del = (path, body = {}) => call("DELETE", path, body);
export const post = (path, body = {}) => call("POST", path, body);
/** What is no JSON, as text. */
export const download = async (path, body) => (await ask("POST", path, body)).text();

function known(who) {
  csrf = who.csrf;
  return who;
}

/** Who is signed in; null for nobody. */
export async function whoami() {
  try {
    return known(await call("GET", "session"));
  } catch (error) {
    if (error.status === 401) return null;
    throw error;
  }
}

/** What people call whom they may sign in with; null where there is nobody. */
export const provider = async () => (await call("GET", "session/provider")).name;

/** Where a sign-in with the provider begins; it ends where the console is now. */
export const toProvider = () => `/api/v1/session/provider/begin${query({ return_to: location.hash.slice(1) })}`;

export const signIn = async (name, password) => known(await call("POST", "session", { name, password }));

export async function signOut() {
  await call("DELETE", "session");
  csrf = null;
}
