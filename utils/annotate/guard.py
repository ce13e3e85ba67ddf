"""Who may speak to the page: those who know its address, from the page itself."""

import hmac
import ipaddress
import socket
from urllib.parse import urlsplit

# Nothing from elsewhere: the browser itself refuses what the page might ask of another machine.
HEADERS = (
    (b"content-security-policy", b"default-src 'self'; script-src 'self' 'unsafe-inline' 'unsafe-eval'; "
     b"style-src 'self' 'unsafe-inline'; img-src 'self' data:; font-src 'self' data:; frame-ancestors 'none'; "
     b"form-action 'none'; base-uri 'none'"),
    (b"referrer-policy", b"no-referrer"),
    (b"x-content-type-options", b"nosniff"),
)  # fmt: skip


class Guard:
    """ASGI middleware. Only paths below /<token>/ exist; a foreign Host or Origin is refused, websockets included."""

    def __init__(self, app, token: str, host: str, port: int):
        self.app, self.prefix, self.port = app, f"/{token}".encode(), port
        self.names = {host, "localhost", "127.0.0.1", "::1"}
        self.any_address = host in ("0.0.0.0", "::")
        if self.any_address:
            self.names |= {socket.gethostname(), socket.getfqdn()}

    async def __call__(self, scope, receive, send) -> None:
        if scope["type"] == "lifespan":
            return await self.app(scope, receive, send)
        headers = [(name, value) for name, value in scope["headers"] if name != b"x-forwarded-prefix"]
        path = scope["path"].encode()
        known = hmac.compare_digest(path[: len(self.prefix) + 1], self.prefix + b"/")
        if not known or not self._from_here(headers):
            return await _refuse(scope, send)
        headers.append((b"x-forwarded-prefix", self.prefix))
        inner = path[len(self.prefix) :]
        inside = {**scope, "path": inner.decode(), "raw_path": inner, "headers": headers}
        await self.app(inside, receive, _with_headers(send))

    def _from_here(self, headers: list[tuple[bytes, bytes]]) -> bool:
        """Whether the browser asked this machine by a name of its own (so not after a change of DNS), from no other
        page."""
        hosts = [value.decode("latin-1") for name, value in headers if name == b"host"]
        origins = [value.decode("latin-1") for name, value in headers if name == b"origin"]
        return len(hosts) == 1 and self._is_ours(hosts[0]) and all(one == f"http://{hosts[0]}" for one in origins)

    def _is_ours(self, host: str) -> bool:
        try:
            place = urlsplit(f"//{host}")
            name, port = place.hostname or "", place.port or 80
        except ValueError:
            return False
        return port == self.port and (name in self.names or (self.any_address and _is_address(name)))


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def _with_headers(send):
    async def sending(message) -> None:
        if message["type"] == "http.response.start":
            message = {**message, "headers": [*message["headers"], *HEADERS]}
        await send(message)

    return sending


async def _refuse(scope, send) -> None:
    if scope["type"] == "websocket":
        return await send({"type": "websocket.close", "code": 1008})
    text = b"This address is not, or no longer, that of a page to label in. Open the one that the program has printed."
    await send({"type": "http.response.start", "status": 403, "headers": [(b"content-type", b"text/plain"), *HEADERS]})
    await send({"type": "http.response.body", "body": text})
