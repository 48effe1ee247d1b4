// The second port: what no public provider offers, but tests need. JSON in, JSON out.
//
//   POST /auto      {"login":"alice"|null|""}  who signs in without being asked; "" denies, null asks again
//   POST /people    {"id":"alice","claims":{"groups":["sre"]}}   a claim set to null disappears
//   POST /disable   {"id":"alice"}             the account is gone: refresh answers invalid_grant
//   POST /rotate    {"withdraw":true}          a new signing key; with `withdraw` the old keys are no longer published
//   POST /lifetimes {"idToken":60}          seconds that ID tokens of from now on are good for
//   POST /logout    {"sid":"…"} | {"sub":"…"}  back-channel logout; answers what the client answered
//   POST /sids      {"sub":"alice"}            the provider's names of this person's sessions with clients
//   POST /device    {"userCode":"…","login":"alice"}             approves a device code
//   POST /pause     {"path":"/token","status":503}               status absent: hangs until /resume
//   POST /resume    {}
//   GET  /counts    requests by path since start (or since POST /counts)

import { approveDevice } from './provider.mjs';
import { readBody } from './interactions.mjs';

export function createControl(world) {
  const actions = {
    '/auto': ({ login }) => { world.auto.login = login; },
    '/people': ({ id, claims }) => { world.people.change(id, claims); },
    '/disable': ({ id }) => { world.people.disable(id); },
    '/rotate': ({ withdraw }) => world.rotate({ withdraw: withdraw === true }),
    '/lifetimes': (order) => { Object.assign(world.lifetimes, order); },
    '/logout': ({ sid, sub }) => logout(world, { sid, sub }),
    '/sids': ({ sub }) => ({ sids: sids(world, sub) }),
    '/device': async ({ userCode, login }) => ({ approved: await approveDevice(world.provider, userCode, login) }),
    '/pause': ({ path, status }) => { world.paused.set(path, status ?? 'hang'); },
    '/resume': () => world.resume(),
    '/counts': () => { world.counts.clear(); },
  };

  return async (request, response) => {
    if (request.method === 'GET' && request.url === '/counts') {
      return json(response, 200, Object.fromEntries(world.counts));
    }
    const action = actions[request.url];
    if (request.method !== 'POST' || !action) return json(response, 404, { error: 'no such control' });
    try {
      const result = await action(JSON.parse(await readBody(request) || '{}'));
      return json(response, 200, result ?? {});
    } catch (error) {
      return json(response, 500, { error: String(error) });
    }
  };
}

async function logout(world, { sid, sub }) {
  const sent = [];
  for (const session of world.memory.all('Session')) {
    for (const [clientId, authorization] of Object.entries(session.authorizations ?? {})) {
      const wanted = sid ? authorization.sid === sid : session.accountId === sub;
      const client = wanted && await world.provider.Client.find(clientId);
      if (client?.backchannelLogoutUri) {
        const outcome = await client.backchannelLogout(session.accountId, authorization.sid)
          .then(() => 'accepted', (error) => String(error));
        sent.push({ clientId, sid: authorization.sid, outcome });
      }
    }
  }
  return { sent };
}

function sids(world, sub) {
  const sessions = world.memory.all('Session').filter((session) => session.accountId === sub);
  return sessions.flatMap((session) => Object.values(session.authorizations ?? {}).map(({ sid }) => sid));
}

function json(response, status, value) {
  response.writeHead(status, { 'content-type': 'application/json' });
  response.end(JSON.stringify(value));
}
