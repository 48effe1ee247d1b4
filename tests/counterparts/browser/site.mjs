// A site of pages behind the gateway in the stories of browsers. It prints one JSON line when it answers: {"url"}. Loopback only; it ends with its input.
//
//   GET /live…          a page with a WebSocket, which says what becomes of it
//   GET /frame?src=…    a page of somebody else's with that address in a frame
//   GET /seen           what came through a gateway: [{"target","host","email","id"}]
//   GET anything else   a page that says what was asked, where, and who the gateway says it is
import { createHash } from 'node:crypto';
import http from 'node:http';

const name = process.argv[2];
const seen = [];

const server = http.createServer((request, response) => {
  const url = new URL(request.url, 'http://site');
  if (url.pathname === '/seen') return answer(response, 'application/json', JSON.stringify(seen));
  if (url.pathname === '/frame') return answer(response, 'text/html', page('Signed out at the provider', `<iframe src="${text(url.searchParams.get('src'))}" onload="document.title='loaded'"></iframe>`));
  const who = note(request);
  const socket = `<p id="socket">not yet</p><script>
    const told = document.getElementById('socket');
    const socket = new WebSocket('/socket');
    socket.onmessage = (message) => { told.textContent = 'open: ' + message.data; };
    socket.onclose = (event) => { told.textContent = 'closed: ' + event.code + ' ' + event.reason; };
  </script>`;
  return answer(response, 'text/html', page(name, `<p id="who">${text(who)}</p><p id="asked">${text(request.url)}</p>${url.pathname.startsWith('/live') ? socket : ''}`));
});

server.on('upgrade', (request, socket) => {
  const who = note(request);
  const accept = createHash('sha1').update(`${request.headers['sec-websocket-key']}258EAFA5-E914-47DA-95CA-C5AB0DC85B11`).digest('base64');
  socket.write(`HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: ${accept}\r\n\r\n`);
  const word = Buffer.from(who);
  socket.write(Buffer.concat([Buffer.from([0x81, word.length]), word]));
  socket.on('error', () => {}).resume();
});

server.listen(0, '127.0.0.1', () => process.stdout.write(`${JSON.stringify({ url: `http://127.0.0.1:${server.address().port}` })}\n`));
process.stdin.on('end', () => process.exit(0)).resume();

// Keeps what came and tells by whom.
function note(request) {
  const assertion = request.headers['x-gatescribe-assertion']?.split('.')[1];
  const email = assertion ? JSON.parse(Buffer.from(assertion, 'base64url')).email : 'nobody';
  // Who asks straight came through no gateway.
  if (!request.headers.host.startsWith('127.0.0.1')) seen.push({ target: request.url, host: request.headers.host, email, id: request.headers['audit-id'] });
  return email;
}

function page(title, content) {
  return `<!doctype html><html lang="en"><meta charset="utf-8"><title>${title}</title><main><h1>${title}</h1>${content}</main></html>`;
}

function text(words) {
  return String(words).replace(/[&<>"']/g, (character) => `&#${character.charCodeAt(0)};`);
}

function answer(response, type, body) {
  response.writeHead(200, { 'content-type': `${type}; charset=utf-8`, 'cache-control': 'no-store' });
  response.end(body);
}
