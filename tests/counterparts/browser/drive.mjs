// A person's browser that stays open, with tabs, and a person of its own for each name. Its first argument says where the browser is (JSON). Each line of its input is an
// order, and each gets one line: {"told":…} or {"failed":"why"}. It reaches this machine alone, and ends with its input.
//
//   {"do":"open","who":"alice"}                     a tab of alice's; tells its number. Tabs of one person share cookies, those of two nothing
//   {"do":"go","tab":1,"url":"http://…"}            opens an address as if typed, and waits for what stands at its end; tells why nothing does
//   {"do":"click","tab":1,"on":"button"}            clicks as a mouse does on what the selector finds
//   {"do":"until","tab":1,"that":"expression"}      waits until an expression is true in the page; tells its value
//   {"do":"visited","tab":1}                        addresses of pages since this was last asked, with every redirect
//   {"do":"complaints","tab":1}                     what its pages broke since then: their content security policy, exceptions
//   {"do":"picture","tab":1,"file":"folder/name"}   on a desk and on a phone, by day and by night; tells what is wrong with each
//   {"do":"cookies","who":"alice"}                  what the browser keeps for her
import { writeFileSync } from 'node:fs';
import { createInterface } from 'node:readline';
import { dress, launch, tab, whole } from './chromium.mjs';

const LOOPBACK = 'MAP * ~NOTFOUND, EXCLUDE 127.0.0.1, EXCLUDE localhost, EXCLUDE *.localhost';
const PATIENCE = 60_000; // milliseconds

const tabs = new Map();
const people = new Map();
const { call, end } = launch(JSON.parse(process.argv[2]), LOOPBACK, hear);

function hear({ method, params, sessionId }) {
  const found = [...tabs.values()].find((one) => one.sessionId === sessionId);
  if (!found) return;
  if (method === 'Network.requestWillBeSent' && params.type === 'Document') found.visited.push(params.request.url);
  // That an answer has the status of an error is no complaint about the page, and neither is a hint.
  if (method === 'Log.entryAdded' && params.entry.level === 'error' && params.entry.source !== 'network') found.complaints.push(params.entry.text);
  if (method === 'Runtime.exceptionThrown') found.complaints.push(params.exceptionDetails.exception?.description ?? 'an exception');
}

const orders = {
  async open({ who: person }) {
    if (!people.has(person)) people.set(person, (await call('Target.createBrowserContext')).browserContextId);
    const opened = await tab(call, ['Page', 'Network', 'Log', 'Runtime'], people.get(person));
    tabs.set(tabs.size + 1, { ...opened, visited: [], complaints: [] });
    await dress(opened.ask, {});
    return tabs.size;
  },
  async go({ tab: at, url }) {
    const { ask, evaluate } = tabs.get(at);
    const { errorText } = await ask('Page.navigate', { url });
    if (errorText) return errorText;
    await comes(() => evaluate('location.href !== "about:blank" && document.readyState === "complete"'));
    return null;
  },
  async click({ tab: at, on }) {
    const { ask, evaluate } = tabs.get(at);
    await ask('Page.bringToFront');
    const place = await comes(() => evaluate(`(() => {
      const found = document.querySelector(${JSON.stringify(on)});
      found?.scrollIntoView({ block: 'center' });
      const box = found?.getBoundingClientRect();
      return box && { x: box.x + box.width / 2, y: box.y + box.height / 2 };
    })()`));
    for (const type of ['mousePressed', 'mouseReleased']) await ask('Input.dispatchMouseEvent', { type, ...place, button: 'left', clickCount: 1 });
    return null;
  },
  until: ({ tab: at, that }) => comes(() => tabs.get(at).evaluate(that)).catch(async (error) => {
    const stands = await tabs.get(at).evaluate('location.href + "\\n" + document.body?.innerText');
    throw new Error(`${error.message}: ${that}\n${stands}`);
  }),
  visited: async ({ tab: at }) => tabs.get(at).visited.splice(0),
  complaints: async ({ tab: at }) => tabs.get(at).complaints.splice(0),
  async picture({ tab: at, file }) {
    const { ask, evaluate } = tabs.get(at);
    await ask('Page.bringToFront');
    const told = [];
    for (const width of [1280, 390]) {
      for (const dark of [false, true]) {
        await dress(ask, { width, dark });
        told.push({ width, dark, ...(await evaluate(`(${faults})()`)) });
        const { data } = await ask('Page.captureScreenshot', { format: 'png', captureBeyondViewport: true, clip: await whole(ask) });
        writeFileSync(`${file}-${width}-${dark ? 'dark' : 'light'}.png`, Buffer.from(data, 'base64'));
      }
    }
    await dress(ask, {});
    return told;
  },
  async cookies({ who: person }) {
    const { cookies } = await call('Storage.getCookies', { browserContextId: people.get(person) });
    return cookies.map(({ name, domain, value, httpOnly, sameSite }) => ({ name, domain, value, httpOnly, sameSite }));
  },
};

// Looks until it is so. A page that is just going away answers nothing.
async function comes(check) {
  const ends = Date.now() + PATIENCE;
  let last = 'it never was';
  while (Date.now() < ends) {
    try {
      const found = await check();
      if (found) return found;
    } catch (error) { last = error.message; }
    await new Promise((resume) => { setTimeout(resume, 20); });
  }
  throw new Error(`waited in vain (${last})`);
}

// What somebody would stumble over who cannot see well, hears the page, or has a phone: WCAG 2.2 1.3.1, 1.4.3, 1.4.10, 2.4.2, 2.5.8, 3.1.1, 4.1.2.
function faults() {
  const numbers = (colour) => colour.match(/[\d.]+/g).map(Number);
  const light = (colour) => {
    const [red, green, blue] = numbers(colour).slice(0, 3).map((part) => part / 255)
      .map((part) => (part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4));
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue;
  };
  const behind = (element) => {
    for (let at = element; at; at = at.parentElement) {
      const colour = getComputedStyle(at).backgroundColor;
      if ((numbers(colour)[3] ?? 1) === 1) return colour;
    }
    return 'rgb(255, 255, 255)';
  };
  const contrast = (element) => {
    const [one, other] = [light(getComputedStyle(element).color), light(behind(element))];
    return (Math.max(one, other) + 0.05) / (Math.min(one, other) + 0.05);
  };
  const found = [];
  const say = (what, element) => found.push(`${what}: ${element.outerHTML.slice(0, 120)}`);
  const speaks = (element) => [...element.childNodes].some((node) => node.nodeType === 3 && node.textContent.trim());
  for (const element of document.body.querySelectorAll('*')) if (speaks(element) && contrast(element) < 4.5) say(`contrast ${contrast(element).toFixed(2)}`, element);
  for (const element of document.querySelectorAll('a, button, input:not([type=hidden])')) {
    const name = element.innerText || element.getAttribute('aria-label') || element.labels?.[0]?.innerText || '';
    if (!name.trim()) say('without a name', element);
    const { width, height } = element.getBoundingClientRect();
    if (Math.min(width, height) < 24) say('too small to hit', element);
  }
  const root = document.documentElement;
  if (root.scrollWidth > root.clientWidth) found.push(`${root.scrollWidth - root.clientWidth} pixels too wide`);
  if (root.lang !== 'en') found.push('no language');
  if (!document.title) found.push('no title');
  for (const name of ['main', 'h1']) if (document.querySelectorAll(name).length !== 1) found.push(`not one ${name}`);
  return { title: document.title, faults: found };
}

try {
  for await (const line of createInterface({ input: process.stdin })) {
    const order = JSON.parse(line);
    const answer = await orders[order.do](order).then((told) => ({ told }), (error) => ({ failed: error.message }));
    process.stdout.write(`${JSON.stringify(answer)}\n`);
  }
} finally {
  end();
}
