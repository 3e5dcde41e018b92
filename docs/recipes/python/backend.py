"""Back end of an application: registers users, gives them a conversation, and mints a token for one of them.

    CHAT_URL=… CHAT_SECRET=… CHAT_API_KEY=… python3 backend.py USER OTHER...

It prints what the application hands to the device of USER, who is signed in there: the user, a token and the conversation.
The standard library is enough; PyJWT or another library for JWT makes the same token.
"""

import base64
import hashlib
import hmac
import json
import os
import sys
import time
import urllib.error
import urllib.request


def base64url(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def mint_token(secret: str, user: str, seconds: int = 900) -> str:
    """A JWT that every node accepts: HS256 with the secret of `auth.secret`, the user in `sub`, an end in `exp`."""
    now = int(time.time())
    parts = [{"alg": "HS256", "typ": "JWT"}, {"sub": user, "iat": now, "exp": now + seconds}]
    signed = ".".join(base64url(json.dumps(part).encode()) for part in parts)
    signature = hmac.new(secret.encode(), signed.encode(), hashlib.sha256).digest()
    return f"{signed}.{base64url(signature)}"


def server_api(method: str, path: str, body: dict) -> dict:
    """Sends a request with the API key. After a temporary refusal or a lost answer it is sent again, which is safe: users
    are a state, and a conversation has a `cid`."""
    for attempt in range(1, 6):
        request = urllib.request.Request(
            f"{os.environ['CHAT_URL']}/v1/server/{path}",
            method=method,
            data=json.dumps(body).encode(),
            headers={"Authorization": f"Bearer {os.environ['CHAT_API_KEY']}", "Content-Type": "application/json"},
        )
        try:
            with urllib.request.urlopen(request, timeout=15) as response:
                return json.load(response)
        except urllib.error.HTTPError as error:
            problem = json.load(error)
            if "retry_ms" not in problem or attempt == 5:
                sys.exit(f"{method} {path}: {problem['code']}: {problem.get('detail')}")
            time.sleep(problem["retry_ms"] / 1000)
        except OSError as error:
            if attempt == 5:
                sys.exit(f"{method} {path}: {error}")
            time.sleep(attempt)
    raise AssertionError("the fifth attempt returns or exits")


def main() -> None:
    people = sys.argv[1:]
    if len(people) < 2:
        sys.exit("usage: backend.py USER OTHER...")
    users = server_api("POST", "users", {"users": [{"u": u, "name": u.capitalize()} for u in people]})
    for verdict in users["items"]:
        if not verdict["ok"]:
            sys.exit(f"{verdict['u']}: {verdict['err']}: {verdict['msg']}")
    # The same people get the same conversation, however often and from whichever of them this is called.
    owner, *members = sorted(people)
    room = hashlib.sha256("\0".join([owner, *members]).encode()).hexdigest()[:32]
    conversation = server_api(
        "POST",
        "conversations",
        {"kind": "group", "owner": owner, "members": members, "title": "Order 1001", "cid": f"order-{room}"},
    )
    user = people[0]
    print(json.dumps({"user": user, "token": mint_token(os.environ["CHAT_SECRET"], user), "c": conversation["c"]}))


main()
