"""Receiver of webhooks: learns of messages for users who are away, to send them a push notification.

    CHAT_WEBHOOK_SECRET=… python3 push.py PORT

The node posts to `webhook.url`, signed with `webhook.secret` as Standard Webhooks specifies.
"""

import base64
import hashlib
import hmac
import json
import os
import sys
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

SECRET = base64.b64decode(os.environ["CHAT_WEBHOOK_SECRET"].removeprefix("whsec_"))
# Ids of the posts that were handled: each is posted at least once. A database replaces this in an application.
handled: set[str] = set()


def verified(headers, body: bytes) -> bool:
    """Whether the post is from a node with this secret, unchanged, and not older than five minutes."""
    ident, timestamp = headers.get("webhook-id", ""), headers.get("webhook-timestamp", "")
    if not timestamp.isdigit() or abs(time.time() - int(timestamp)) > 300:
        return False
    digest = hmac.new(SECRET, f"{ident}.{timestamp}.".encode() + body, hashlib.sha256).digest()
    expected = f"v1,{base64.b64encode(digest).decode()}"
    signatures = headers.get("webhook-signature", "").split(" ")
    return any(hmac.compare_digest(expected.encode(), one.encode()) for one in signatures)


class Receiver(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        if not verified(self.headers, body):
            self.answer(401)
            return
        post = json.loads(body)
        if post["type"] == "message" and post["id"] not in handled:
            for user in post["offline"]:
                if not user["muted"]:
                    # Here the application calls its push service.
                    print(f"push to {user['u']}: {post['message']['u']}: {post['message']['b'].get('text')}", flush=True)
            handled.add(post["id"])
        # Only now: a node repeats what is not answered with 2xx.
        self.answer(204)

    def answer(self, status: int) -> None:
        self.send_response(status)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_) -> None:
        pass


ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Receiver).serve_forever()
