// Debian's Chromium without a window, spoken to by the DevTools protocol over a pipe: no package, no port, and it ends with who started it.
import { spawn } from 'node:child_process';

// Starts it. `hear` gets each event. `call` asks; `end` ends it, and from then on nobody minds that it has.
export function launch({ program, libraries, profile }, resolves, hear) {
  const browser = spawn(program, [
    '--remote-debugging-pipe', '--no-sandbox', '--disable-gpu', '--disable-dev-shm-usage', '--no-first-run',
    '--disable-background-networking', '--disable-component-update', `--host-resolver-rules=${resolves}`,
    `--user-data-dir=${profile}`, 'about:blank',
  ], { stdio: ['ignore', 'ignore', 'ignore', 'pipe', 'pipe'], env: { ...process.env, HOME: profile, LD_LIBRARY_PATH: libraries } });
  let done = false;
  browser.on('exit', (code) => { if (!done) { console.error(`the browser ended: ${code}`); process.exit(1); } });

  let next = 0;
  let heard = '';
  const waiting = new Map();
  browser.stdio[4].setEncoding('utf8');
  browser.stdio[4].on('data', (text) => {
    heard += text;
    const whole = heard.split('\0');
    heard = whole.pop();
    for (const message of whole.map((one) => JSON.parse(one))) {
      const resolve = waiting.get(message.id);
      waiting.delete(message.id);
      if (resolve) resolve(message);
      else hear(message);
    }
  });

  const call = (method, params = {}, sessionId = undefined) => {
    const id = ++next;
    browser.stdio[3].write(`${JSON.stringify({ id, method, params, sessionId })}\0`);
    return new Promise((resolve, reject) => waiting.set(id, ({ result, error }) => {
      if (error) reject(new Error(`${method}: ${error.message}`));
      else resolve(result);
    }));
  };
  const end = () => { done = true; browser.kill('SIGKILL'); };
  return { call, end };
}

// A tab with these domains enabled: its session, and how to ask it and to evaluate in it.
export async function tab(call, domains, context = undefined) {
  const { targetId } = await call('Target.createTarget', { url: 'about:blank', browserContextId: context });
  const { sessionId } = await call('Target.attachToTarget', { targetId, flatten: true });
  const ask = (method, params) => call(method, params, sessionId);
  for (const domain of domains) await ask(`${domain}.enable`);
  const evaluate = async (expression) => {
    const { result, exceptionDetails } = await ask('Runtime.evaluate', { expression, awaitPromise: true, returnByValue: true });
    if (exceptionDetails) throw new Error(exceptionDetails.exception?.description ?? exceptionDetails.text);
    return result.value;
  };
  return { targetId, sessionId, ask, evaluate };
}

// As wide as a desk or a phone, by day or by night.
export async function dress(ask, { width = 1280, dark = false }) {
  await ask('Emulation.setDeviceMetricsOverride', { width, height: 900, deviceScaleFactor: 1, mobile: false });
  await ask('Emulation.setEmulatedMedia', { features: [{ name: 'prefers-color-scheme', value: dark ? 'dark' : 'light' }] });
}

// All of the page, also what one would have to scroll to.
export async function whole(ask) {
  const { cssContentSize } = await ask('Page.getLayoutMetrics');
  return { x: 0, y: 0, width: cssContentSize.width, height: cssContentSize.height, scale: 1 };
}
