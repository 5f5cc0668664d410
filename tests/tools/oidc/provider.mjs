// The certified OpenID Provider `oidc-provider`, for tests. Its own login page takes any name that has
// an account. Usage: provider.mjs MODULES PORT REDIRECT_URI, where MODULES has its node_modules.
// Each line of standard input is the accounts from now on, `{"ada": {"groups": ["ops"]}}`; it ends with
// its standard input, so at the latest with who started it.
import { generateKeyPairSync } from "node:crypto";
import { createServer } from "node:http";
import { createInterface } from "node:readline";
import { pathToFileURL } from "node:url";

const [modules, port, redirect] = process.argv.slice(2);
const { default: Provider } = await import(pathToFileURL(`${modules}/node_modules/oidc-provider/lib/index.js`));

let accounts = {};
const key = () => {
  const { privateKey } = generateKeyPairSync("rsa", { modulusLength: 2048 });
  return { ...privateKey.export({ format: "jwk" }), use: "sig", alg: "RS256", kid: `key-${process.pid}` };
};
const server = createServer();
await new Promise((resolve) => server.listen(Number(port), "127.0.0.1", resolve));
const issuer = `http://127.0.0.1:${server.address().port}`;
const provider = new Provider(issuer, {
  clients: [
    {
      client_id: "sluice",
      client_secret: "canaryhunter-secret-of-the-client",
      redirect_uris: [redirect],
      grant_types: ["authorization_code"],
      response_types: ["code"],
    },
  ],
  claims: {
    openid: ["sub"],
    profile: ["preferred_username", "groups", "realm_access"],
    email: ["email", "email_verified"],
  },
  conformIdTokenClaims: false,
  cookies: { keys: ["for the tests only"] },
  findAccount: (_, id) => accounts[id] && { accountId: id, claims: () => ({ sub: id, ...accounts[id] }) },
  jwks: { keys: [key()] },
  pkce: { required: () => true },
});
server.on("request", provider.callback());
const lines = createInterface({ input: process.stdin });
lines.on("line", (line) => {
  accounts = JSON.parse(line);
  process.stdout.write("ACCOUNTS\n");
});
lines.on("close", () => process.exit(0));
process.stdout.write(`LISTEN ${issuer}\n`);
