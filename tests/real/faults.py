"""A SIEM that can be told to misbehave: `_bulk` and the HTTP Event Collector, over TLS with client certificates or plain.

It keeps every alert id that it took, by the way it came, and everything it was asked while it refused.
"""

import collections
import gzip
import http.server
import json
import re
import ssl
import threading
import time


def context(both, authority):
    """A server that shows the certificate in `both` and wants one of `authority` from its clients."""
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    made.load_cert_chain(both)
    if authority is not None:
        made.verify_mode = ssl.CERT_REQUIRED
        made.load_verify_locations(authority)
    return made


class Siem(http.server.ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 64
    # Who answers; none = below.
    answer = None

    def __init__(self, context=None):
        super().__init__(("127.0.0.1", 0), self.answer or Answer)
        self.context = context
        # id → how often it was taken anew; a repeated document is recognised, a repeated event is not.
        self.taken = collections.Counter()
        self.refused, self.told, self.lock = [], [], threading.Lock()
        # What is done instead of answering well, for as long as it is set: a status, "hang"; how many bytes at most;
        # answers to come that are given only after some seconds.
        self.status, self.limit, self.late = None, None, []
        self.url = f"{'https' if context else 'http'}://localhost:{self.server_address[1]}"
        threading.Thread(target=self.serve_forever, daemon=True).start()

    def finish_request(self, request, address):
        if self.context is not None:
            request.settimeout(20)
            try:
                request = self.context.wrap_socket(request, server_side=True)
            except OSError as error:
                self.refused.append(str(error))
                return
        super().finish_request(request, address)

    def handle_error(self, request, address):
        pass

    def stop(self):
        self.shutdown()
        self.server_close()


class Answer(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.say(404, {})

    def do_PUT(self):
        self.rfile.read(int(self.headers["Content-Length"]))
        self.say(200, {"acknowledged": True})

    def do_POST(self):
        siem = self.server
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if self.headers.get("Content-Encoding") == "gzip":
            body = gzip.decompress(body)
        with siem.lock:
            siem.told.append((self.path, len(body)))
            late = siem.late.pop(0) if siem.late else 0
        while siem.status == "hang":
            time.sleep(0.1)
        if siem.status is not None:
            return self.say(siem.status, {"error": {"type": "no"}, "text": "no", "code": 4})
        if siem.limit is not None and len(body) > siem.limit:
            return self.say(413, {})
        answer = self.bulk(body) if self.path.startswith("/_bulk") else self.collect(body)
        time.sleep(late)
        return self.say(200, answer)

    def bulk(self, body):
        items = []
        for action in body.splitlines()[::2]:
            name = json.loads(action)["create"]["_id"]
            with self.server.lock:
                known = name in self.server.taken
                self.server.taken[name] += not known
            items.append({"create": {"status": 409 if known else 201}})
        return {"errors": True, "items": items}

    def collect(self, body):
        for name in re.findall(rb'"alert_id":"([0-9a-f]+)"', body):
            with self.server.lock:
                self.server.taken[name.decode()] += 1
        return {"text": "Success", "code": 0}

    def say(self, status, body):
        text = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def log_message(self, *_):
        pass
