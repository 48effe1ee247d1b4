// Opens pages in a real browser without network, and tells what stands there. Its first argument is JSON: the program, and for each page
// its address, width, whether the person likes it dark, what to type, whether it is one that runs nothing, and where the picture goes. It speaks the DevTools protocol over a
// pipe, so it needs no package and no port.
import { writeFileSync } from 'node:fs';
import { dress, launch, tab, whole } from './chromium.mjs';

const order = JSON.parse(process.argv[2]);
const events = [];
const { call, end } = launch(order, 'MAP * ~NOTFOUND', (message) => events.push(message));

// Resolves with what the page concludes, however long it works.
const concluded = `new Promise((resolve) => {
  const root = document.documentElement;
  const tell = () => root.dataset.verdict && resolve(root.dataset.verdict);
  new MutationObserver(tell).observe(root, { attributes: true });
  tell();
})`;

const seen = `({
  verdict: document.documentElement.dataset.verdict,
  title: document.title,
  text: document.body.innerText,
  sentence: document.getElementById('verdict')?.innerText,
  faults: Array.from(document.querySelectorAll('#faults li'), (one) => one.textContent),
  checks: Array.from(document.querySelectorAll('#checks li'), (one) => one.className.split(' ')[0] + ' ' + one.textContent),
  serves: Object.fromEntries(Array.from(document.querySelectorAll('section'), (one) => [one.querySelector('h2')?.textContent ?? '', one.querySelector('.serves')?.textContent ?? null])),
  facts: Object.fromEntries(Array.from(document.querySelectorAll('dt'), (one) => [one.textContent, one.nextElementSibling.textContent])),
  marks: Array.from(document.querySelectorAll('.mark'), (one) => one.textContent),
  elements: Array.from(new Set(Array.from(document.body.querySelectorAll('*'), (one) => one.localName))).sort(),
  wide: document.documentElement.scrollWidth - document.documentElement.clientWidth,
  owned: window.owned !== undefined,
})`;

async function look(page) {
  const { targetId, ask, evaluate } = await tab(call, ['Page', 'Network', 'Log', 'Runtime', 'Accessibility']);
  await ask('Network.emulateNetworkConditions', { offline: true, latency: 0, downloadThroughput: 0, uploadThroughput: 0 });
  await dress(ask, page);
  events.length = 0;
  await ask('Page.navigate', { url: page.url });
  // The document may not have begun to load.
  while (!(await evaluate('location.href !== "about:blank" && document.readyState === "complete"')));
  // A page that runs nothing concludes nothing: what stands there when it is loaded is all.
  if (!page.inert) await evaluate(concluded);
  if (page.types !== undefined) {
    // As a person: into the field, and the button.
    await evaluate(`delete document.documentElement.dataset.verdict; document.getElementById('key').focus()`);
    await ask('Input.insertText', { text: page.types });
    await evaluate(`document.querySelector('#key-form button').click()`);
    await evaluate(concluded);
  }
  if (page.opens) await evaluate(`document.querySelectorAll('details').forEach((one, at) => { if (at < 2) one.open = true; }); new Promise((resume) => requestAnimationFrame(() => requestAnimationFrame(resume)))`);
  const told = await evaluate(seen);
  if (page.picture) {
    const { data } = await ask('Page.captureScreenshot', { format: 'png', captureBeyondViewport: Boolean(page.whole), clip: page.whole ? await whole(ask) : undefined });
    writeFileSync(page.picture, Buffer.from(data, 'base64'));
  }
  const { nodes } = await ask('Accessibility.getFullAXTree');
  const named = (role) => nodes.filter((node) => !node.ignored && node.role?.value === role).map((node) => node.name?.value ?? '');
  told.accessible = { headings: named('heading'), buttons: named('button'), fields: named('textbox'), status: named('status').length, tables: named('table') };
  const requests = events.filter((event) => event.method === 'Network.requestWillBeSent').map((event) => event.params.request.url);
  told.elsewhere = requests.filter((url) => !page.url.startsWith(url.split('#')[0]));
  told.complaints = events
    .filter((event) => event.method === 'Log.entryAdded' || event.method === 'Runtime.exceptionThrown')
    .map((event) => event.params.entry?.text ?? event.params.exceptionDetails?.exception?.description ?? 'an exception');
  await call('Target.closeTarget', { targetId });
  return told;
}

try {
  const told = [];
  for (const page of order.pages) told.push(await look(page));
  console.log(JSON.stringify(told));
} finally {
  end();
}
