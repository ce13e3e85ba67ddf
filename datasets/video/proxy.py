"""Videos as browsers play them: which files they play as they are, and H.264 copies of all others.

Time 0 of what the browser plays is the first frame of the video; later frames and the sound keep their distances in
time.
"""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from fractions import Fraction
from pathlib import Path

import av
import numpy as np

from datasets.images import shrink_to_width
from datasets.video.reading import Video
from utils.base.errors import DataError, StorageError
from utils.base.files import write_atomically

PROXY_FORMAT = 1  # Raise it whenever the same video would give another proxy.
MAX_WIDTH = 1280  # wider videos are shrunk to this width in pixels
SOUND_RATE = 48_000  # samples per second
CLOCK = 90_000  # ticks per second of the times of frames
KEY_FRAME_SECONDS = 1.0  # between frames at which the browser can start
MAX_LAG = 0.02  # seconds by which the first frame may follow the start of a file that is played as it is
SHORTEST_GAP = 0.02  # seconds; smaller gaps and overlaps of the sound come from rounded times

# Containers, by the suffix of the file, with the codecs of picture and sound that current browsers play in them.
PLAYABLE = {
    (".mp4", ".m4v", ".mov"): ({"h264"}, {"aac", "mp3", "mp3float"}),
    (".webm",): ({"vp8", "vp9"}, {"opus", "vorbis"}),
}
PIXEL_FORMATS = ("yuv420p", "yuvj420p")


def plays_in_browsers(path: Path) -> bool:
    """Whether current browsers play a video file as it is, its first frame at time 0."""
    codecs = next((codecs for suffixes, codecs in PLAYABLE.items() if path.suffix.lower() in suffixes), None)
    if codecs is None or not path.is_file():
        return False
    try:
        with av.open(str(path)) as container:
            pictures, sounds = container.streams.video, container.streams.audio
            if len(pictures) != 1 or pictures[0].codec_context.pix_fmt not in PIXEL_FORMATS:
                return False
            start = float((pictures[0].start_time or 0) * (pictures[0].time_base or 0))
            lag = start - (container.start_time or 0) / av.time_base
            return (
                abs(lag) <= MAX_LAG
                and pictures[0].codec_context.name in codecs[0]
                and all(sound.codec_context.name in codecs[1] for sound in sounds)
            )
    except av.FFmpegError:
        return False


def write_proxy(video: Video, path: Path, progress: Callable[[float], None] = lambda share: None) -> None:
    """Write a copy of a video that browsers play: H.264 and AAC in an MP4, at most MAX_WIDTH pixels wide.

    Args:
        video: a video file, or a folder of frames, which has no sound.
        path: the copy, an .mp4; it appears when it is complete.
        progress: called with the share that is done, in [0, 1].

    Raises:
        StorageError: the copy cannot be written.
        DataError: the video cannot be read or encoded.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, lambda temporary: _encode(video, temporary, progress), durable=False)
    except av.FFmpegError as error:
        raise DataError(f"{video.path}: cannot be converted for the browser ({error})") from error
    except OSError as error:
        raise StorageError.from_os_error(path, error) from error


def _encode(video: Video, path: Path, progress: Callable[[float], None]) -> None:
    with ExitStack() as stack:
        output = stack.enter_context(av.open(str(path), "w", format="mp4", options={"movflags": "faststart"}))
        picture = output.add_stream("libx264", rate=Fraction(video.fps).limit_denominator(1001))
        picture.codec_context.time_base = Fraction(1, CLOCK)
        interval = max(1, round(KEY_FRAME_SECONDS * video.fps))
        # Without B-frames, no frame needs to be decoded before its time, which players shift in different ways.
        picture.options = {"preset": "veryfast", "crf": "23", "bf": "0", "g": str(interval)}
        picture.pix_fmt = "yuv420p"
        chunks = _sound(video.path, stack)
        sound = output.add_stream("aac", rate=SOUND_RATE, layout="stereo") if chunks else None
        position = 0  # samples of sound that have been encoded
        first = None
        for count, (_, time, image) in enumerate(video, 1):
            first = time if first is None else first
            while sound and chunks and position <= (time - first) * SOUND_RATE:
                chunk = next(chunks, None)
                if chunk is None:
                    break
                output.mux(sound.encode(_sound_frame(chunk, position)))
                position += chunk.shape[1]
            output.mux(picture.encode(_picture_frame(picture, image, time - first)))
            progress(count / max(video.expected_frames or count, count))
        output.mux(picture.encode(None))
        if sound:
            output.mux(sound.encode(None))
    progress(1.0)


def _picture_frame(stream: av.VideoStream, image: np.ndarray, time: float) -> av.VideoFrame:
    """A frame of the picture from an image (H, W, 3), RGB; the first one sets the size of the stream."""
    small = shrink_to_width(image, MAX_WIDTH)
    height, width = (side // 2 * 2 for side in small.shape[:2])
    if not stream.codec_context.is_open:
        stream.width, stream.height = width, height
    frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(small[:height, :width]), format="rgb24")
    frame.pts, frame.time_base = round(time * CLOCK), Fraction(1, CLOCK)
    return frame


def _sound_frame(samples: np.ndarray, position: int) -> av.AudioFrame:
    frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(samples), format="fltp", layout="stereo")
    frame.sample_rate, frame.pts, frame.time_base = SOUND_RATE, position, Fraction(1, SOUND_RATE)
    return frame


def _sound(path: Path, stack: ExitStack) -> Iterator[np.ndarray] | None:
    """The sound of a video from its first frame on, as chunks (2, n) without gaps; None: it has none."""
    if not path.is_file():
        return None
    container = stack.enter_context(av.open(str(path)))
    if not container.streams.audio or not container.streams.video:
        return None
    picture = container.streams.video[0]
    return _chunks(container, float((picture.start_time or 0) * (picture.time_base or 0)))


def _sound_frames(container: av.container.InputContainer) -> Iterator[av.AudioFrame]:
    """The decoded sound. What is damaged is left out; the sound ends where the file cannot be read any further."""
    packets = container.demux(audio=0)
    with suppress(av.FFmpegError):
        for packet in packets:
            with suppress(av.FFmpegError):
                yield from packet.decode()


def _chunks(container: av.container.InputContainer, start: float) -> Iterator[np.ndarray]:
    """The sound after `start` in seconds; gaps between its time stamps are filled with silence."""
    resampler = av.AudioResampler(format="fltp", layout="stereo", rate=SOUND_RATE)
    position = 0
    for frame in _sound_frames(container):
        if frame.time is None:
            continue
        wanted = round((frame.time - start) * SOUND_RATE)
        for samples in (part.to_ndarray() for part in resampler.resample(frame)):
            if wanted - position > SHORTEST_GAP * SOUND_RATE:
                yield np.zeros((2, wanted - position), np.float32)
                position = wanted
            late = position - wanted
            if late > SHORTEST_GAP * SOUND_RATE or wanted < 0:
                samples = samples[:, max(late, 0) :]
            if samples.shape[1]:
                yield samples
                position += samples.shape[1]
            wanted = position
