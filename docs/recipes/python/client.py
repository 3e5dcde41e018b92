"""Client: shows the messages of its user's conversations, and sends each line of the keyboard to one of them.

    CHAT_URL=… python3 client.py ACCESS.json

ACCESS.json is what backend.py printed. Messages go out over REST, and come in as server-sent events.
"""

import json
import os
import sys
import threading
import time
import urllib.error
import urllib.parse
import urllib.request
import uuid

URL = os.environ["CHAT_URL"]
# The last position applied of each conversation.
seen: dict[str, int] = {}


def access() -> dict:
    """The user, a token and the conversation. An application asks its back end, and again when the token has expired."""
    with open(sys.argv[1]) as file:
        return json.load(file)


def call(method: str, path: str, body: dict | None = None, key: str | None = None) -> dict:
    """Sends a request until it is answered for good. A repetition with the same key is the same message."""
    pause = 0.5
    while True:
        headers = {"Authorization": f"Bearer {access()['token']}", "Content-Type": "application/json"}
        if key:
            headers["Idempotency-Key"] = key
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(URL + path, method=method, data=data, headers=headers)
        try:
            with urllib.request.urlopen(request, timeout=15) as response:
                return json.loads(response.read() or b"{}")
        except urllib.error.HTTPError as error:
            problem = json.load(error)
            if "retry_ms" not in problem:
                raise RuntimeError(f"{method} {path}: {problem['code']}: {problem.get('detail')}") from error
            time.sleep(problem["retry_ms"] / 1000)
        except OSError:
            time.sleep(pause)
            pause = min(2 * pause, 30)


def apply(event: dict, jump: bool) -> bool:
    """Applies an event of a conversation's log, in order and once. False: events before it are missing."""
    c, s = event["c"], event["s"]
    if s <= seen.get(c, 0):
        return True
    if s != seen.get(c, 0) + 1 and not jump:
        return False
    seen[c] = s
    if event["t"] == "msg" and not event.get("deleted"):
        print(f"{event['u']}: {event['b'].get('text')}", flush=True)
        if event["u"] != access()["user"]:
            call("PUT", f"/v1/conversations/{c}/read", {"s": s})
    return True


def catch_up() -> None:
    """Reads what is missing in every conversation."""
    body: dict = {"have": [list(pair) for pair in seen.items()][:200]}
    while True:
        delta = call("POST", "/v1/sync", body)
        for item in delta["items"]:
            for event in item["events"]:
                # Behind a gap the newest events stand alone; earlier ones are no longer kept.
                apply(event, True)
        if not delta.get("next"):
            return
        body["cursor"] = delta["next"]


def handle(event: dict) -> None:
    if event["t"] == "ready":
        print(f"connected as {event['user']}", flush=True)
        if not event["resumed"]:
            catch_up()
    elif event["t"] in ("resync", "activity"):
        catch_up()
    elif event["t"] == "conv":
        for part in event.get("events", []):
            apply(part, True)
    elif "s" in event and not apply(event, event["c"] not in seen):
        catch_up()


def listen() -> None:
    """Reads the event stream, and continues it behind the last event, at this node or another."""
    last, pause = None, 0.5
    device = urllib.parse.quote(f"{access()['user']}-terminal")
    while True:
        headers = {"Authorization": f"Bearer {access()['token']}"}
        if last:
            headers["Last-Event-ID"] = last
        try:
            request = urllib.request.Request(f"{URL}/v1/events?device={device}", headers=headers)
            # The server sends a comment every 15 s.
            with urllib.request.urlopen(request, timeout=40) as stream:
                kind = data = ident = None
                for line in stream:
                    field, _, value = line.decode().rstrip("\n").partition(": ")
                    if field == "id":
                        ident = value
                    elif field == "event":
                        kind = value
                    elif field == "data":
                        data = value
                    elif field == "" and data is not None:
                        if kind == "close":
                            close = json.loads(data)
                            if close["code"] >= 4400:
                                print(f"! closed with {close['code']}", flush=True)
                                os._exit(1)
                            pause = close["retry_ms"] / 1000
                        else:
                            handle(json.loads(data))
                            last, pause = ident, 0.5
                        kind = data = ident = None
        except urllib.error.HTTPError as error:
            problem = json.load(error)
            pause = problem.get("retry_ms", 5000) / 1000
            print(f"! {problem['code']}: {problem.get('detail')}", flush=True)
        except OSError as error:
            print(f"! {error}", flush=True)
        time.sleep(pause)
        pause = min(2 * pause, 30)


def main() -> None:
    threading.Thread(target=listen, daemon=True).start()
    for line in sys.stdin:
        body = {"b": {"text": line.rstrip("\n")}}
        call("POST", f"/v1/conversations/{access()['c']}/messages", body, key=str(uuid.uuid4()))


main()
