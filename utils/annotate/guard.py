"""Restricts access to the page: only requests to its secret address, sent from the page itself, are answered."""

import hmac
import ipaddress
import socket
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any
from urllib.parse import urlsplit

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

# The content security policy makes the browser refuse anything that the page might load from another machine.
HEADERS = (
    (
        b"content-security-policy",
        b"default-src 'self'; script-src 'self' 'unsafe-inline' 'unsafe-eval'; "
        b"style-src 'self' 'unsafe-inline'; img-src 'self' data:; font-src 'self' data:; frame-ancestors 'none'; "
        b"form-action 'none'; base-uri 'none'",
    ),
    (b"referrer-policy", b"no-referrer"),
    (b"x-content-type-options", b"nosniff"),
)


class Guard:
    """ASGI middleware: serves only paths below /<token>/, and refuses a foreign Host or Origin, also of websockets."""

    def __init__(self, app: App, token: str, host: str, port: int):
        """Wrap an application.

        Args:
            app: the application.
            token: the secret part of the address.
            host: name or address that the server listens at.
            port: port that the server listens at.
        """
        self.app, self.prefix, self.port = app, f"/{token}".encode(), port
        self.host_names = {host, "localhost", "127.0.0.1", "::1"}
        self.listens_everywhere = host in ("0.0.0.0", "::")
        if self.listens_everywhere:
            self.host_names |= {socket.gethostname(), socket.getfqdn()}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on to the application, with the path below the token, or refuse it."""
        if scope["type"] == "lifespan":
            await self.app(scope, receive, send)
            return
        headers = [(name, value) for name, value in scope["headers"] if name != b"x-forwarded-prefix"]
        path = scope["path"].encode()
        has_token = hmac.compare_digest(path[: len(self.prefix) + 1], self.prefix + b"/")
        if not has_token or not self._is_same_origin(headers):
            await _refuse(scope, send)
            return
        headers.append((b"x-forwarded-prefix", self.prefix))
        inner_path = path[len(self.prefix) :]
        inner_scope = {**scope, "path": inner_path.decode(), "raw_path": inner_path, "headers": headers}
        await self.app(inner_scope, receive, _with_headers(send))

    def _is_same_origin(self, headers: list[tuple[bytes, bytes]]) -> bool:
        """Whether Host names this server, which rules out DNS rebinding, and Origin, if there is one, the same host."""
        hosts = [value.decode("latin-1") for name, value in headers if name == b"host"]
        origins = [value.decode("latin-1") for name, value in headers if name == b"origin"]
        return (
            len(hosts) == 1
            and self._is_own_host(hosts[0])
            and all(origin == f"http://{hosts[0]}" for origin in origins)
        )

    def _is_own_host(self, host: str) -> bool:
        try:
            address = urlsplit(f"//{host}")
            name, port = address.hostname or "", address.port or 80
        except ValueError:
            return False
        return port == self.port and (name in self.host_names or (self.listens_everywhere and _is_ip_address(name)))


def _is_ip_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def _with_headers(send: Send) -> Send:
    """Add HEADERS to each response."""

    async def send_with_headers(message: Message) -> None:
        if message["type"] == "http.response.start":
            message = {**message, "headers": [*message["headers"], *HEADERS]}
        await send(message)

    return send_with_headers


async def _refuse(scope: Scope, send: Send) -> None:
    if scope["type"] == "websocket":
        await send({"type": "websocket.close", "code": 1008})
        return
    text = b"The annotation page is not at this address, or no longer. Open the address that the program printed."
    await send({"type": "http.response.start", "status": 403, "headers": [(b"content-type", b"text/plain"), *HEADERS]})
    await send({"type": "http.response.body", "body": text})
