// Answers each request that nginx parsed with what it saw, and writes the same line into a journal.
//
// nginx keeps the lines of a head as they were written and in their order. It drops those whose name has an underscore or
// another odd character (`ignore_invalid_headers`), and says so in its error log.
import fs from "fs";
import crypto from "crypto";

// Not by way of a buffer: that would make what is no UTF-8 into U+FFFD.
const encoded = (text) => text.toString("base64");

function echo(request) {
  const body = bodyOf(request);
  const line =
    JSON.stringify({
      method: encoded(request.method),
      target: encoded(request.variables.request_uri),
      headers: request.rawHeadersIn.map((pair) => [encoded(pair[0]), encoded(pair[1])]),
      body: { length: body.length, sha256: crypto.createHash("sha256").update(body).digest("hex"), complete: true },
    }) + "\n";
  fs.appendFileSync(request.variables.journal, line);
  request.headersOut["Content-Type"] = "application/json";
  request.return(200, line);
}

// There is no such property where a body was announced and is empty, and to ask for it ends the script.
function bodyOf(request) {
  const isThere = request.variables.request_body;
  return (isThere && request.requestBuffer) || Buffer.from("");
}

export default { echo };
