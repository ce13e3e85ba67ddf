"""Serves the page: on this computer alone, under an address that nobody can guess."""

import ipaddress
import logging
import secrets
import socket
import sys
from contextlib import suppress

import cv2

from datasets.frames import DataError
from utils.annotate.guard import Guard
from utils.annotate.project import Project
from utils.errors import SettingsError, UserError

try:
    from nicegui import app, ui
    from starlette.responses import Response
except ImportError as error:
    raise UserError(f"the page needs NiceGUI: pip install -r requirements-annotate.txt ({error})") from None

from utils.annotate.page import Page

log = logging.getLogger(__name__)

WIDTH = 1280  # pixels; wider frames are shrunk before they are sent
QUALITY = 88
RECONNECT = 30.0  # seconds for which a tab that has lost the connection may go on where it was


def serve(project: Project, host: str, port: int) -> None:
    """Serves until interrupted. port 0: any that is free. Raises SettingsError where host or port cannot be had."""
    port = _free_port(host, port)
    token = secrets.token_urlsafe(24)
    if not _is_loopback(host):
        log.warning("--host %s: whoever on the network learns the address can see the videos and change the labels, "
                    "and nothing is encrypted", host)  # fmt: skip
    app.add_middleware(Guard, token=token, host=host, port=port)
    app.get("/frame/{item}/{frame}")(lambda item, frame: _picture(project, item, frame))
    shown = f"[{host}]" if ":" in host else host
    app.on_startup(lambda: print(f"\nlabel in the browser: http://{shown}:{port}/{token}/\nend: Ctrl+C", flush=True))
    ui.page("/")(lambda: Page(project).build())
    with suppress(KeyboardInterrupt):  # the way to end it
        _run(host, port, token)


def _run(host: str, port: int, token: str) -> None:
    ui.run(
        host=host, port=port, title="MT-CLAR: label", reload=False, favicon="🎯",
        show=f"/{token}/" if sys.stdout.isatty() else False, show_welcome_message=False, reconnect_timeout=RECONNECT,
        tailwind=False, dark=None,
    )  # fmt: skip


def _picture(project: Project, item: str, frame: str) -> Response:
    """A frame as JPEG, by numbers alone: no path comes from the browser."""
    if not (item.isdecimal() and frame.isdecimal() and int(item) < len(project.items)):
        return Response(status_code=404)
    frames = project.items[int(item)].frames
    try:
        if frames is None:
            raise DataError("this video has no frames to label")
        image = frames.read(int(frame))
    except DataError as error:
        return Response(str(error), 404, media_type="text/plain")
    scale = min(1.0, WIDTH / image.shape[1])
    small = cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA) if scale < 1 else image
    content = cv2.imencode(".jpg", cv2.cvtColor(small, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, QUALITY])[1]
    return Response(content.tobytes(), media_type="image/jpeg", headers={"cache-control": "private, max-age=3600"})


def _free_port(host: str, port: int) -> int:
    try:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        with socket.socket(family, socket.SOCK_STREAM) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind((host, port))
            return probe.getsockname()[1]
    except OSError as error:
        raise SettingsError(f"--host {host} --port {port}: cannot be had ({error.strerror or error}); leave --port out "
                            "for any free one, and --host for this computer alone") from None  # fmt: skip


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
