"""Python's own http.server with connections that are kept, as `python3 -m http.server --protocol HTTP/1.1` keeps them.

Like the handlers that it comes with, this one never reads a body, whatever was announced: it takes the bytes of one for the next
request. So do many handlers that people write. The journal tells each request that it parsed.

    python3 http_server.py ADDRESS PORT
"""

import hashlib
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from seen import encoded, note, pairs


class Deaf(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = -1  # an answer is one piece

    def answer(self):
        # What it parsed itself: `self.path` has lost slashes at its beginning.
        target = self.requestline.split(" ")[1]
        line = note(
            {
                "method": encoded(self.command),
                "target": encoded(target),
                "headers": pairs(self.headers.items()),
                "body": {"length": 0, "sha256": hashlib.sha256().hexdigest(), "complete": True},
            }
        )
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(line)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(line)

    do_GET = do_HEAD = do_POST = do_PUT = do_PATCH = do_DELETE = do_OPTIONS = answer


ThreadingHTTPServer((sys.argv[1], int(sys.argv[2])), Deaf).serve_forever()
