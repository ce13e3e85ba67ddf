"""Serves the page, by default to this computer alone, at an address that contains a secret token."""

import ipaddress
import logging
import secrets
import socket
import sys
from contextlib import suppress

import cv2
import numpy as np

from datasets.images import shrink_to_width
from utils.annotate.guard import Guard
from utils.annotate.project import Project, ProjectVideo
from utils.base.errors import DataError, SettingsError, UserError

try:
    from nicegui import app, ui
    from starlette.responses import FileResponse, Response
    from threadpoolctl import threadpool_limits
except ImportError as error:
    raise UserError(f"the page needs NiceGUI: pip install -r requirements-annotate.txt ({error})") from None

from utils.annotate.check_page import CheckPage
from utils.annotate.page import Page

log = logging.getLogger(__name__)

MAX_WIDTH = 1280  # wider frames are shrunk to this width in pixels before they are sent
JPEG_QUALITY = 88
MOST_DIGITS = 9  # of a number in a request
RECONNECT_SECONDS = 30.0  # how long a tab that lost the connection keeps its place


def serve(project: Project, host: str, port: int) -> None:
    """Serve the page until it is interrupted.

    Args:
        project: the videos to label.
        host: name or address to serve at.
        port: port to serve at; 0: any free port.

    Raises:
        SettingsError: the program cannot serve at this host and port.
    """
    port = _free_port(host, port)
    token = secrets.token_urlsafe(24)
    if not _is_loopback(host):
        log.warning(
            "--host %s: anyone on the network who learns the address can see the videos and change the labels; the "
            "connection is not encrypted",
            host,
        )
    app.add_middleware(Guard, token=token, host=host, port=port)
    app.get("/frame/{video_index}/{frame}")(lambda video_index, frame: _frame_response(project, video_index, frame))
    app.get("/face/{video_index}/{track}")(lambda video_index, track: _face_response(project, video_index, track))
    app.get("/media/{video_index}")(lambda video_index: _media_response(project, video_index))
    app.on_shutdown(project.close)
    shown_host = f"[{host}]" if ":" in host else host
    message = f"\nopen in the browser: http://{shown_host}:{port}/{token}/\nstop with Ctrl+C"
    app.on_startup(lambda: print(message, flush=True))
    ui.page("/")(lambda: Page(project).build())
    ui.page("/check")(lambda: CheckPage(project).build())
    # The matrices of a click are small: on a busy computer, threads that wait for each other take longer than one.
    with suppress(KeyboardInterrupt), threadpool_limits(1, "blas"):  # Ctrl+C is the usual way to stop the server.
        _run(host, port, token)


def _run(host: str, port: int, token: str) -> None:
    ui.run(
        host=host,
        port=port,
        title="MT-CLAR: label",
        reload=False,
        favicon="🎯",
        show=f"/{token}/" if sys.stdout.isatty() else False,
        show_welcome_message=False,
        reconnect_timeout=RECONNECT_SECONDS,
        tailwind=False,
        dark=None,
    )


def _media_response(project: Project, video_index: str) -> Response:
    """What the browser plays of a video. The request holds a number only, so it cannot name a path."""
    video = _video(project, video_index)
    file = video.playback.file if video and video.playback else None
    if file is None or not file.is_file():
        return Response(status_code=404)
    media_type = "video/webm" if file.suffix.lower() == ".webm" else "video/mp4"
    headers = {"cache-control": "private, max-age=3600"}
    return FileResponse(file, media_type=media_type, headers=headers)


def _frame_response(project: Project, video_index: str, frame: str) -> Response:
    """A frame as JPEG. The request holds two numbers only, so it cannot name a path."""
    video, number = _video(project, video_index), _number(frame)
    if video is None or number is None:
        return Response(status_code=404)
    frames = video.frames
    try:
        if frames is None:
            raise DataError("this video has no frames to label")
        image = shrink_to_width(frames.read(number), MAX_WIDTH)
    except DataError as error:
        return Response(str(error), 404, media_type="text/plain")
    return _jpeg(image)


def _face_response(project: Project, video_index: str, track: str) -> Response:
    """The first face of a track as JPEG. The request holds two numbers only, so it cannot name a path."""
    video, number = _video(project, video_index), _number(track)
    face = None if video is None or number is None else project.people.image_similarity.faces.get((video.path, number))
    return Response(status_code=404) if face is None else _jpeg(face)


def _jpeg(image: np.ndarray) -> Response:
    """An image (H, W, 3) uint8 RGB as JPEG."""
    content = cv2.imencode(".jpg", cv2.cvtColor(image, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])[1]
    return Response(content.tobytes(), media_type="image/jpeg", headers={"cache-control": "private, max-age=3600"})


def _video(project: Project, video_index: str) -> ProjectVideo | None:
    """The video with an index from a request; None: there is none."""
    index = _number(video_index)
    return project.videos[index] if index is not None and index < len(project.videos) else None


def _number(text: str) -> int | None:
    """The whole number in a part of a request; None: it is none, or one that no video needs."""
    return int(text) if text.isdecimal() and len(text) <= MOST_DIGITS else None


def _free_port(host: str, port: int) -> int:
    """The port, or any free one for 0."""
    try:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        with socket.socket(family, socket.SOCK_STREAM) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind((host, port))
            return probe.getsockname()[1]
    except OSError as error:
        raise SettingsError(
            f"--host {host} --port {port}: cannot serve there ({error.strerror or error}); leave out --port to use any "
            "free port, and --host to serve this computer alone"
        ) from None


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
