// A certified OpenID provider for the tests.
//
//   node server.mjs '{"port":0,"controlPort":0,"redirectUris":["http://127.0.0.1:8080/callback"],
//                     "logoutUri":"http://127.0.0.1:8080/backchannel-logout","postLogoutUris":[…],"secret":"…"}'
//
// Prints one JSON line when it answers: {"issuer","control","clientId","clientSecret"}. Loopback only. Ends when its
// standard input ends, so a killed test runner leaves nothing behind.

import { generateKeyPair, randomUUID } from 'node:crypto';
import http from 'node:http';
import { promisify } from 'node:util';
import { createControl } from './control.mjs';
import { answerInteraction, text } from './interactions.mjs';
import { createMemory } from './memory.mjs';
import { createPeople } from './people.mjs';
import { createClients, createProvider } from './provider.mjs';

const options = JSON.parse(process.argv[2] ?? process.env.GATESCRIBE_TEST_PROVIDER ?? '{}');
const known = ['port', 'controlPort', 'redirectUris', 'logoutUri', 'postLogoutUris', 'secret', 'host'];
const unknown = Object.keys(options).filter((key) => !known.includes(key));
if (unknown.length) throw new Error(`unknown options: ${unknown.join(', ')}`);

const host = options.host ?? '127.0.0.1';
const secret = options.secret ?? 'gatescribe-test-secret';

const world = {
  people: createPeople(),
  memory: createMemory(),
  auto: { login: null },
  counts: new Map(),
  paused: new Map(),
  waiting: [],
  keys: [],
  lifetimes: { idToken: 3600 }, // seconds
  async rotate({ withdraw }) {
    const key = await newKey();
    world.keys = withdraw ? [key] : [key, ...world.keys];
    world.provider = createProvider({ issuer, clients, keys: world.keys, memory: world.memory, people: world.people, lifetimes: world.lifetimes });
    world.handle = world.provider.callback();
    return { kid: key.kid, published: world.keys.map(({ kid }) => kid) };
  },
  resume() {
    world.paused.clear();
    world.waiting.splice(0).forEach((go) => go());
  },
};

const publicServer = http.createServer((request, response) => answer(request, response).catch((error) => {
  process.stderr.write(`${error.stack}\n`);
  if (!response.headersSent) text(response, 500, String(error.message));
}));
await listen(publicServer, options.port ?? 0);
const issuer = `http://${host}:${publicServer.address().port}`;
const clients = createClients({
  redirectUris: options.redirectUris ?? ['http://127.0.0.1:8080/callback'],
  logoutUri: options.logoutUri,
  postLogoutUris: options.postLogoutUris ?? [],
  secret,
});
await world.rotate({ withdraw: true });

const control = http.createServer(createControl(world));
await listen(control, options.controlPort ?? 0);

process.stdin.on('end', () => process.exit(0)).resume();
process.stdout.on('error', () => {}); // nobody reads behind the first line, and the library has notices for people
process.stdout.write(`${JSON.stringify({
  issuer,
  control: `http://${host}:${control.address().port}`,
  clientId: 'gatescribe',
  clientSecret: secret,
})}\n`);

async function answer(request, response) {
  const { pathname } = new URL(request.url, 'http://provider');
  const counted = pathname.replace(/^\/(interaction|auth)\/.*/, '/$1/*');
  world.counts.set(counted, (world.counts.get(counted) ?? 0) + 1);
  const pause = world.paused.get(pathname);
  if (pause === 'hang') await new Promise((go) => { world.waiting.push(go); });
  else if (pause) return text(response, pause, 'paused by the test');
  if (pathname.startsWith('/interaction/')) return answerInteraction(request, response, world);
  return world.handle(request, response);
}

async function newKey() {
  const { privateKey } = await promisify(generateKeyPair)('rsa', { modulusLength: 2048 });
  return { ...privateKey.export({ format: 'jwk' }), kid: randomUUID(), use: 'sig', alg: 'RS256' };
}

function listen(server, port) {
  return new Promise((resolve, reject) => {
    server.once('error', reject);
    server.listen(port, host, resolve);
  });
}
