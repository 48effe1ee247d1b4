// Who signs in, asked on a plain page and answerable by script: a `login_hint` that names a person, the person set
// by POST /auto on the control port, or POST /interaction/<uid> with `login=<person>`.

export async function answerInteraction(request, response, { provider, people, auto }) {
  const details = await provider.interactionDetails(request, response);
  if (request.method === 'POST') {
    const form = new URLSearchParams(await readBody(request));
    if (form.has('deny')) return finish(provider, request, response, deniedBy('the person said no'));
    return signIn(form.get('login'));
  }
  const hint = details.params.login_hint;
  if (people.has(hint)) return signIn(hint);
  if (auto.login === '') return finish(provider, request, response, deniedBy('denied by script'));
  if (auto.login) return signIn(auto.login);
  return page(response, details, people);

  async function signIn(login) {
    if (details.prompt.name === 'consent') {
      return finish(provider, request, response, { consent: await consent(provider, details) });
    }
    if (!people.has(login)) return text(response, 400, `no such person: ${login}`);
    // Whoever asks for a class of proof gets the first that they name, as if it had been shown.
    const acr = details.params.acr_values?.split(' ')[0];
    return finish(provider, request, response, { login: { accountId: login, acr } });
  }
}

async function consent(provider, details) {
  const grant = (details.grantId && await provider.Grant.find(details.grantId))
    ?? new provider.Grant({ accountId: details.session.accountId, clientId: details.params.client_id });
  grant.addOIDCScope(details.params.scope);
  return { grantId: await grant.save() };
}

const deniedBy = (why) => ({ error: 'access_denied', error_description: why });

function finish(provider, request, response, result) {
  return provider.interactionFinished(request, response, result, { mergeWithLastSubmission: true });
}

function page(response, details, people) {
  const buttons = people.names()
    .map((name) => `<p><button name="login" value="${name}">${name}</button></p>`)
    .join('');
  response.writeHead(200, { 'content-type': 'text/html; charset=utf-8', 'cache-control': 'no-store' });
  response.end(`<!doctype html><html lang="en"><title>Sign in (test provider)</title>
<h1>Who are you?</h1><form method="post" action="/interaction/${details.uid}">${buttons}
<p><button name="deny" value="1">nobody (deny)</button></p></form></html>`);
}

export function text(response, status, body) {
  response.writeHead(status, { 'content-type': 'text/plain; charset=utf-8' });
  response.end(body);
}

export async function readBody(request) {
  let body = '';
  for await (const chunk of request) {
    body += chunk;
    if (body.length > 65536) throw new Error('body too large');
  }
  return body;
}
