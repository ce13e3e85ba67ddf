"""Copies of videos for the browser: picture and sound keep the times of the source."""

import shutil
from fractions import Fraction

import av
import cv2
import numpy as np
import pytest
from clips import add_sound, write_video

from datasets.video.proxy import plays_in_browsers, write_proxy
from datasets.video.reading import open_video
from utils.annotate.playback import Playback
from utils.base.errors import StorageError

FPS, FLASH, COUNT = 25, 30, 75
FRAME = 1 / FPS


def images():
    """Black frames, and a white one at FLASH."""
    for frame in range(COUNT):
        yield np.full((48, 64, 3), 255 if frame == FLASH else 0, np.uint8)


def click(seconds: float) -> np.ndarray:
    """Three seconds of silence with a click of 10 ms."""
    samples = np.zeros(3 * 48_000, np.float32)
    start = round(seconds * 48_000)
    samples[start : start + 480] = 0.8
    return samples


def flash_and_click(path) -> tuple[float, float]:
    """Times of the white frame and of the click in a file."""
    with av.open(str(path)) as container:
        frames = [(frame.time, frame.to_ndarray(format="gray").mean()) for frame in container.decode(video=0)]
    with av.open(str(path)) as container:
        loud = []
        for frame in container.decode(audio=0):
            samples = np.abs(frame.to_ndarray()).max(0)
            loud += [frame.time + index / frame.sample_rate for index in np.flatnonzero(samples > 0.3)[:1]]
    return max(frames, key=lambda pair: pair[1])[0], loud[0]


@pytest.mark.parametrize("delay", [0.0, 0.5, -0.4])
def test_picture_and_sound_of_a_proxy_keep_their_times(tmp_path, delay):
    silent = write_video(tmp_path / "silent.mkv", images(), FPS)
    # The click belongs to the white frame, whatever the delay between the two streams in the file.
    source = add_sound(silent, tmp_path / "clip.mkv", click(FLASH * FRAME - delay), delay)
    assert not plays_in_browsers(source)
    shares = []
    write_proxy(open_video(source), tmp_path / "proxy.mp4", shares.append)
    flash, heard = flash_and_click(tmp_path / "proxy.mp4")
    assert flash == pytest.approx(FLASH * FRAME, abs=FRAME / 2)
    assert heard == pytest.approx(FLASH * FRAME, abs=FRAME)
    assert shares == sorted(shares) and shares[-1] > 0.95
    assert plays_in_browsers(tmp_path / "proxy.mp4")


def damage_sound(source, path, damaged):
    """Copy a video; sound packets with these indices hold bytes that no decoder understands."""
    with av.open(str(source)) as container, av.open(str(path), "w") as copy:
        streams = {stream: copy.add_stream_from_template(stream) for stream in container.streams}
        sounds = 0
        for packet in container.demux():
            if packet.dts is None:
                continue
            stream = streams[packet.stream]
            if packet.stream.type == "audio":
                if sounds in damaged:
                    noise = av.Packet(b"\x55" * packet.size)
                    noise.pts, noise.dts, noise.time_base = packet.pts, packet.dts, packet.time_base
                    packet = noise
                sounds += 1
            packet.stream = stream
            copy.mux(packet)
    return sounds


@pytest.mark.parametrize("damaged", [range(5, 20), range(10_000)])
def test_damaged_sound_does_not_keep_a_video_from_playing(tmp_path, damaged):
    silent = write_video(tmp_path / "silent.mkv", images(), FPS)
    source = add_sound(silent, tmp_path / "sound.mkv", click(FLASH * FRAME))
    assert damage_sound(source, tmp_path / "clip.mkv", damaged) > 100
    write_proxy(open_video(tmp_path / "clip.mkv"), tmp_path / "proxy.mp4")
    with av.open(str(tmp_path / "proxy.mp4")) as container:
        assert sum(1 for _ in container.decode(video=0)) == COUNT
    if len(damaged) < 100:
        flash, heard = flash_and_click(tmp_path / "proxy.mp4")
        assert heard == pytest.approx(flash, abs=FRAME)


def test_a_proxy_of_a_variable_frame_rate_keeps_every_time(tmp_path):
    steps = np.random.default_rng(0).integers(20, 90, COUNT)
    with av.open(str(tmp_path / "clip.mkv"), "w") as container:
        stream = container.add_stream("mpeg4", rate=FPS)
        stream.width, stream.height, stream.codec_context.time_base = 64, 48, Fraction(1, 1000)
        for image, milliseconds in zip(images(), np.cumsum(steps), strict=True):
            frame = av.VideoFrame.from_ndarray(image)
            frame.pts, frame.time_base = int(milliseconds), stream.codec_context.time_base
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    video = open_video(tmp_path / "clip.mkv")
    times = np.array([time for _, time, _ in video])
    write_proxy(video, tmp_path / "proxy.mp4")
    with av.open(str(tmp_path / "proxy.mp4")) as proxy:
        copied = [frame.time for frame in proxy.decode(video=0)]
    np.testing.assert_allclose(copied, times - times[0], atol=1e-4)


def test_a_folder_of_frames_becomes_a_silent_video(tmp_path):
    (tmp_path / "frames").mkdir()
    for frame, image in enumerate(images()):
        cv2.imwrite(str(tmp_path / "frames" / f"{frame + 100}.png"), image[:47, :63])  # H.264 needs even sides.
    video = open_video(tmp_path / "frames", 10)
    write_proxy(video, tmp_path / "proxy.mp4")
    with av.open(str(tmp_path / "proxy.mp4")) as proxy:
        assert not proxy.streams.audio
        assert [round(frame.time, 3) for frame in proxy.decode(video=0)] == [round(n / 10, 3) for n in range(COUNT)]


def test_files_that_browsers_play_are_played_as_they_are(tmp_path):
    silent = write_video(tmp_path / "mpeg4.mp4", images(), FPS)
    assert not plays_in_browsers(silent)  # MPEG-4 part 2
    write_proxy(open_video(silent), tmp_path / "h264.mp4")
    assert plays_in_browsers(tmp_path / "h264.mp4")
    assert plays_in_browsers(add_sound(tmp_path / "h264.mp4", tmp_path / "sound.mp4", click(1)))
    late = add_sound(tmp_path / "h264.mp4", tmp_path / "late.mp4", click(1), -0.5)
    assert not plays_in_browsers(late)  # The picture would lag behind the browser's clock.
    assert not plays_in_browsers(shutil.copy(tmp_path / "h264.mp4", tmp_path / "h264.avi"))
    (tmp_path / "broken.mp4").write_bytes(b"no video")
    assert not plays_in_browsers(tmp_path / "broken.mp4") and not plays_in_browsers(tmp_path)


def test_a_copy_is_made_once_and_only_whole(tmp_path):
    source = write_video(tmp_path / "clip.avi", images(), FPS)
    playback = Playback(open_video(source), tmp_path / "proxies")
    assert playback.file is None
    playback.close()
    playback._make_copy()
    assert playback.file is None and list((tmp_path / "proxies").iterdir()) == []
    playback = Playback(open_video(source), tmp_path / "proxies")
    playback.start()
    playback._thread.join()
    assert playback.file and playback.share > 0.95
    again = Playback(open_video(source), tmp_path / "proxies")
    assert again.file == playback.file
    again.refuse()
    assert "H.264" in again.problem
    source.unlink()
    write_video(source, images(), 2 * FPS)  # another video in the same file
    (tmp_path / "file").write_text("")
    blocked = Playback(open_video(source), tmp_path / "file")
    with pytest.raises(StorageError):
        write_proxy(blocked.video, tmp_path / "file" / "proxy.mp4")
    blocked._make_copy()
    assert blocked.file is None and "cannot be written" in blocked.problem


def test_any_failure_ends_the_conversion_with_a_message(tmp_path, monkeypatch):
    def fail(*_):
        raise ValueError("a decoder's bug")

    monkeypatch.setattr("utils.annotate.playback.write_proxy", fail)
    playback = Playback(open_video(write_video(tmp_path / "clip.avi", images(), FPS)), tmp_path / "proxies")
    playback.start()
    playback._thread.join()
    assert playback.file is None and "cannot be converted for the browser (a decoder's bug)" in playback.problem


def test_a_file_that_was_moved_away_can_still_be_named(tmp_path):
    write_proxy(open_video(write_video(tmp_path / "clip.avi", images(), FPS)), tmp_path / "clip.mp4")
    playback = Playback(open_video(tmp_path / "clip.mp4"), tmp_path / "proxies")
    (tmp_path / "clip.mp4").unlink()
    assert playback.file and playback.version == "file"
