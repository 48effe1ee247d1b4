// The configuration of `oidc-provider`, as strict as the tests need it: PKCE for everyone, rotating refresh
// tokens, back-channel logout with `sid`, `iss` in authorization responses.

import Provider from 'oidc-provider';

const DEVICE_GRANT = 'urn:ietf:params:oauth:grant-type:device_code';
const DAY = 24 * 60 * 60;

export function createProvider({ issuer, clients, keys, memory, people, lifetimes }) {
  const provider = new Provider(issuer, {
    adapter: memory.Adapter,
    clients,
    jwks: { keys },
    cookies: { keys: ['tests-only-cookie-key'] },
    conformIdTokenClaims: false, // claims of the scopes stand in the ID token itself, as most providers do
    scopes: ['openid', 'profile', 'email', 'groups', 'offline_access'],
    claims: {
      profile: ['name', 'preferred_username'],
      email: ['email', 'email_verified'],
      groups: ['groups'],
    },
    acrValues: ['urn:example:hardware'],
    pkce: { required: () => true },
    features: {
      devInteractions: { enabled: false },
      deviceFlow: { enabled: true },
      revocation: { enabled: true },
      introspection: { enabled: true },
      backchannelLogout: { enabled: true },
      rpInitiatedLogout: { enabled: true },
    },
    interactions: { url: (_ctx, interaction) => `/interaction/${interaction.uid}` },
    findAccount: async (_ctx, id) => (people.has(id)
      ? { accountId: id, claims: async () => people.claims(id) }
      : undefined),
    loadExistingGrant: (ctx) => grantOf(ctx),
    issueRefreshToken: async (_ctx, client) => client.grantTypeAllowed('refresh_token'),
    rotateRefreshToken: true,
    expiresWithSession: async () => false,
    ttl: { AccessToken: 3600, IdToken: () => lifetimes.idToken, RefreshToken: 14 * DAY, Session: DAY, Grant: 14 * DAY, Interaction: 600 },
    // The provider protects itself from requests to loopback addresses; here everything is on loopback.
    fetch: (url, { dispatcher: _guard, ...options }) => globalThis.fetch(url, options),
  });
  return provider;
}

// Consent is given by the operator of the tests once and for all, so that only the sign-in is asked.
async function grantOf(ctx) {
  const { client, session, provider, result } = ctx.oidc;
  const known = result?.consent?.grantId ?? session.grantIdFor(client.clientId);
  const found = known && await provider.Grant.find(known);
  if (found) return found;
  const grant = new provider.Grant({ clientId: client.clientId, accountId: session.accountId });
  grant.addOIDCScope('openid profile email groups offline_access');
  await grant.save();
  return grant;
}

export function createClients({ redirectUris, logoutUri, postLogoutUris, secret }) {
  return [
    {
      client_id: 'gatescribe',
      client_secret: secret,
      redirect_uris: redirectUris,
      post_logout_redirect_uris: postLogoutUris,
      response_types: ['code'],
      grant_types: ['authorization_code', 'refresh_token'],
      token_endpoint_auth_method: 'client_secret_basic',
      require_auth_time: true, // the age of the sign-in at the provider, without which step-up means nothing
      ...(logoutUri && { backchannel_logout_uri: logoutUri, backchannel_logout_session_required: true }),
    },
    {
      // A public client as kubelogin or a CI job would be: its raw ID tokens go to the gateway.
      client_id: 'kubernetes',
      application_type: 'native',
      redirect_uris: ['http://127.0.0.1/callback'],
      response_types: ['code'],
      grant_types: ['authorization_code', 'refresh_token', DEVICE_GRANT],
      token_endpoint_auth_method: 'none',
    },
  ];
}

// A person holding the device would type the code at `verification_uri`; the test says it here instead.
export async function approveDevice(provider, userCode, accountId) {
  const code = await provider.DeviceCode.findByUserCode(userCode.replace(/[^A-Z0-9]/gi, '').toUpperCase());
  if (!code || code.isExpired || code.accountId) return false;
  const grant = new provider.Grant({ clientId: code.clientId, accountId });
  grant.addOIDCScope(code.params.scope ?? 'openid');
  Object.assign(code, {
    accountId,
    grantId: await grant.save(),
    scope: code.params.scope ?? 'openid',
    authTime: Math.floor(Date.now() / 1000),
  });
  await code.save();
  return true;
}
