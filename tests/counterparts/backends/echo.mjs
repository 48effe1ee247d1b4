// Answers each request that Node's http parsed with what it saw, and writes the same line into a journal.
//
//   node echo.mjs ADDRESS PORT JOURNAL
//
// Node keeps every line of a head as it was written and in its order (`rawHeaders`).
import { createHash } from "node:crypto";
import { appendFileSync } from "node:fs";
import { createServer } from "node:http";

const [address, port, journal] = process.argv.slice(2);

// Node reads the bytes of a head as Latin-1.
const encoded = (text) => Buffer.from(text, "latin1").toString("base64");
const pairs = (flat) =>
  Array.from({ length: flat.length / 2 }, (_, at) => [encoded(flat[2 * at]), encoded(flat[2 * at + 1])]);

function noted(request, hash, length, complete) {
  const seen = {
    method: encoded(request.method),
    target: encoded(request.url),
    headers: pairs(request.rawHeaders),
    trailers: pairs(request.rawTrailers),
    body: { length, sha256: hash.digest("hex"), complete },
  };
  const line = `${JSON.stringify(seen)}\n`;
  appendFileSync(journal, line); // before the answer: a request counts also where its answer is lost
  return line;
}

const server = createServer((request, response) => {
  const hash = createHash("sha256");
  let length = 0;
  let told = false;
  const tell = (complete) => {
    if (told) return undefined;
    told = true;
    return noted(request, hash, length, complete);
  };
  request.on("data", (piece) => {
    hash.update(piece);
    length += piece.length;
  });
  request.on("error", () => tell(false));
  request.on("close", () => tell(false));
  request.on("end", () => {
    const line = tell(true);
    if (line === undefined) return;
    response.writeHead(200, { "Content-Type": "application/json", "Content-Length": Buffer.byteLength(line) });
    response.end(line);
  });
});

// Without this Node ends the connection of a CONNECT and nobody counts it.
server.on("connect", (request, socket) => {
  noted(request, createHash("sha256"), 0, true);
  socket.on("error", () => {});
  socket.end("HTTP/1.1 405 Method Not Allowed\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
});

server.keepAliveTimeout = 75_000; // as long as the others of the bench
server.listen(Number(port), address);
