// The official TypeScript client signs in by itself: registers, sends a person to the browser, redeems the code, lists and refreshes.
//
//     node signing.mjs PACKAGES URL REDIRECT
//
// Prints the address that the person is sent to as one line of JSON, reads the address that they came back with, and prints what it saw.

import { createRequire } from 'node:module';
import { createInterface } from 'node:readline/promises';

const [packages, url, redirect] = process.argv.slice(2);
const require = createRequire(packages);
const { Client } = require('@modelcontextprotocol/sdk/client/index.js');
const { UnauthorizedError, auth } = require('@modelcontextprotocol/sdk/client/auth.js');
const { StreamableHTTPClientTransport } = require('@modelcontextprotocol/sdk/client/streamableHttp.js');

const kept = {};
const provider = {
  redirectUrl: redirect,
  clientMetadata: { client_name: 'official typescript', redirect_uris: [redirect], token_endpoint_auth_method: 'none' },
  state: () => 'state-of-typescript',
  clientInformation: () => kept.client,
  saveClientInformation: (client) => void (kept.client = client),
  tokens: () => kept.tokens,
  saveTokens: (tokens) => void (kept.tokens = tokens),
  redirectToAuthorization: (where) => void (kept.where = String(where)),
  saveCodeVerifier: (verifier) => void (kept.verifier = verifier),
  codeVerifier: () => kept.verifier
};

const connect = async (transport) => {
  const client = new Client({ name: 'official', version: '1.0.0' });
  await client.connect(transport);
  return client;
};

const first = new StreamableHTTPClientTransport(new URL(url), { authProvider: provider });
try {
  await connect(first);
} catch (refused) {
  if (!(refused instanceof UnauthorizedError)) throw refused;
}
console.log(JSON.stringify({ where: kept.where }));
const lines = createInterface({ input: process.stdin });
const back = new URL(await new Promise((done) => lines.once('line', done)));
lines.close();
await first.finishAuth(back.searchParams.get('code'));
const client = await connect(new StreamableHTTPClientTransport(new URL(url), { authProvider: provider }));
const tools = (await client.listTools()).tools.length;
await client.close();
const before = kept.tokens.refresh_token;
const refreshed = await auth(provider, { serverUrl: url });
console.log(JSON.stringify({ tools, refreshed, rotated: before !== kept.tokens.refresh_token, scope: kept.tokens.scope }));
process.exit(0);
