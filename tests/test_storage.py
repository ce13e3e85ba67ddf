"""Disks that are full or read-only, and several processes at work on one folder."""

import errno
import multiprocessing
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import ROOT, finished, run_script

from datasets.demo import render_demo
from datasets.images import CropCache
from utils.checkpoint import read_checkpoint, save_checkpoint
from utils.errors import CheckpointError, StorageError
from utils.files import write_text, write_whole
from utils.run_folder import RunFolder

MEGABYTE = 1 << 20


@pytest.fixture
def small_disk(tmp_path):
    """Mounts a disk of so many bytes; `mount -o remount,ro` makes it read-only."""
    place = tmp_path / "disk"
    place.mkdir()

    def mount(size: int) -> Path:
        command = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(place)]
        if os.name != "posix" or not shutil.which("mount") or subprocess.run(command, capture_output=True).returncode:
            pytest.skip("no disk can be mounted here")
        return place

    yield mount
    if os.path.ismount(place):
        subprocess.run(["umount", "-l", str(place)], check=True)


# Writing whole or not at all


def test_files_appear_whole_or_not_at_all(tmp_path):
    (tmp_path / "a.txt").write_text("before")

    def half(path):
        path.write_text("hal")
        raise OSError(errno.ENOSPC, "No space left on device")

    with pytest.raises(StorageError, match=r"a\.txt: cannot be written \(No space left on device\); make room"):
        write_whole(tmp_path / "a.txt", half)
    assert [path.name for path in tmp_path.iterdir()] == ["a.txt"] and (tmp_path / "a.txt").read_text() == "before"


def test_the_disk_has_file_and_folder_before_the_writing_ends(tmp_path, monkeypatch):
    synced = []
    monkeypatch.setattr(os, "fsync", lambda handle: synced.append(os.readlink(f"/proc/self/fd/{handle}")))
    if not os.path.isdir("/proc/self/fd"):
        pytest.skip("no /proc to tell what is synchronised")
    write_text(tmp_path / "a.txt", "whole")
    assert Path(synced[0]).name.startswith(".a.txt.") and synced[1:] == [str(tmp_path)]


@pytest.mark.parametrize("place", ["none/a.txt", "file/a.txt"])
def test_a_folder_that_is_none_is_named(tmp_path, place):
    (tmp_path / "file").touch()
    with pytest.raises(StorageError, match=place):
        write_text(tmp_path / place, "")


def test_the_same_content_gives_the_same_bytes_under_any_name(tmp_path):
    content = {"kind": "mtclar", "model": {"a": torch.arange(5.0)}}
    for name in ("best.pt", "other.pt"):
        save_checkpoint(tmp_path / name, content)
    assert (tmp_path / "best.pt").read_bytes() == (tmp_path / "other.pt").read_bytes()


def test_a_checkpoint_that_does_not_fit_leaves_the_one_before(small_disk):
    disk = small_disk(4 * MEGABYTE)
    save_checkpoint(disk / "last.pt", {"kind": "mtclar", "step": 1, "model": torch.zeros(MEGABYTE // 8)})
    with pytest.raises(StorageError, match=r"last\.pt: cannot be written \(No space left"):
        save_checkpoint(disk / "last.pt", {"kind": "mtclar", "step": 2, "model": torch.zeros(MEGABYTE)})
    assert read_checkpoint(disk / "last.pt", "mtclar")["step"] == 1
    assert os.listdir(disk) == ["last.pt"]


# Scripts on such disks


@pytest.mark.parametrize("room", [0, 8192, 40_000, 9 * MEGABYTE, 36 * MEGABYTE])
def test_training_on_a_full_disk_ends_with_one_message_and_what_was_there(small_disk, tiny_arguments, room):
    """From no room for the settings, over none for TensorBoard's events or for last.pt, to none after an epoch."""
    disk = small_disk(max(room, 4096))
    if not room:
        (disk / "full").write_bytes(bytes(4096))
    done = run_script("mtclar.py", *tiny_arguments, "--runs", str(disk))
    assert done.returncode == 2 and "Traceback" not in done.stderr, done.stderr
    assert re.search(rf"^error: {disk}.*: cannot be written \(No space left.*make room", done.stderr, re.MULTILINE)
    assert not list(disk.rglob("*.tmp"))
    checkpoints = list(disk.rglob("*.pt"))
    assert len(checkpoints) == {9 * MEGABYTE: 1, 36 * MEGABYTE: 2}.get(room, 0)
    for path in checkpoints:
        assert read_checkpoint(path, "mtclar")["epoch"] == 1


def test_a_data_set_on_a_read_only_disk_is_fine(small_disk, tiny_demo, tiny_arguments, tmp_path):
    disk = small_disk(64 * MEGABYTE)
    shutil.copytree(tiny_demo, disk / "demo")
    subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)
    finished("mtclar.py", *tiny_arguments, "--data.root", str(disk / "demo"), "--runs", str(tmp_path))
    for setting in ("--runs", "--data.root"):
        done = run_script("mtclar.py", *tiny_arguments, "--runs", str(tmp_path), setting, str(disk / "new"))
        assert done.returncode == 2 and f"{disk / 'new'}" in done.stderr and "read-only" in done.stderr, done.stderr


def test_a_full_disk_of_the_demo_set_leaves_nothing(small_disk, tiny_arguments, tmp_path):
    disk = small_disk(MEGABYTE)
    done = run_script("mtclar.py", *tiny_arguments, "--runs", str(tmp_path), "--data.root", str(disk / "demo"))
    assert done.returncode == 2 and "Traceback" not in done.stderr
    assert f"{disk / 'demo'}: cannot be written" in done.stderr and os.listdir(disk) == []


def test_a_full_disk_of_the_crop_cache_costs_only_time(small_disk, caplog):
    disk = small_disk(MEGABYTE)
    cache = CropCache(disk / "cache", 1e9)
    cache.room = 1e9  # what was free has been taken by others
    crops = np.random.default_rng(0).integers(0, 255, (100, 72, 72, 3), np.uint8)
    for number, crop in enumerate(crops):
        cache.write(cache.path((number,)), crop)
    assert cache.room == 0 and sum("not cached any more" in line for line in caplog.messages) == 1
    found = [cache.read(cache.path((number,))) for number in range(len(crops))]
    assert all(np.array_equal(one, crop) for one, crop in zip(found, crops, strict=True) if one is not None)
    assert found[0] is not None and found[-1] is None and not list(disk.rglob("*.tmp"))


def test_the_crop_cache_leaves_room_for_checkpoints(small_disk):
    disk = small_disk(8 * MEGABYTE)
    cache = CropCache(disk, 1e9)
    cache.write(cache.path((0,)), np.zeros((72, 72, 3), np.uint8))
    assert not list(disk.rglob("*.npy"))


# Several processes


def fill_and_render(barrier, folder: Path) -> None:
    """One process of several: fills the crop cache, then renders the demo set, both together with the others."""
    barrier.wait(300)
    cache = CropCache(folder / "cache", 1e9)
    for number in range(60):
        crop = np.full((72, 72, 3), number, np.uint8)
        found = cache.read(cache.path((number,)))
        assert found is None or np.array_equal(found, crop)
        cache.write(cache.path((number,)), crop)
    render_demo(folder / "demo", **SMALL_DEMO)


SMALL_DEMO = {"people": 3, "frames": 2, "short_frames": 2, "size": 64, "workers": 1}


def test_one_cache_and_one_demo_folder_filled_by_several_processes(tmp_path):
    context = multiprocessing.get_context("spawn")
    barrier = context.Barrier(2)
    processes = [context.Process(target=fill_and_render, args=(barrier, tmp_path)) for _ in range(2)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    assert [process.exitcode for process in processes] == [0, 0]
    cache = CropCache(tmp_path / "cache", 1e9)
    for number in range(60):
        assert np.array_equal(cache.read(cache.path((number,))), np.full((72, 72, 3), number, np.uint8))
    render_demo(tmp_path / "alone", **SMALL_DEMO)
    trees = [{path.relative_to(root): path.read_bytes() for path in root.rglob("*") if path.is_file()}
             for root in (tmp_path / "demo", tmp_path / "alone")]  # fmt: skip
    assert trees[0] == trees[1]
    assert sorted(os.listdir(tmp_path)) == ["alone", "cache", "demo"] and not list(tmp_path.rglob("*.tmp"))


def test_two_runs_of_one_second_do_not_share_a_folder(tiny_settings):
    paths = {RunFolder.create(tiny_settings, "mtclar").path for _ in range(4)}
    assert len(paths) == 4 and all((path / "settings.yaml").exists() for path in paths)


HOLD = """
import sys, time
from pathlib import Path
from utils.run_folder import RunFolder
run = RunFolder.resume(Path(sys.argv[1]))
print("held", flush=True)
time.sleep(600)
"""


def test_a_run_belongs_to_one_process_until_that_is_killed(tiny_settings):
    pytest.importorskip("fcntl")
    path = RunFolder.create(tiny_settings, "mtclar").path
    other = subprocess.Popen([sys.executable, "-c", HOLD, str(path)], stdout=subprocess.PIPE, text=True,
                             cwd=ROOT)  # fmt: skip
    try:
        assert other.stdout.readline() == "held\n"
        with pytest.raises(CheckpointError, match="another process is at work on this run"):
            RunFolder.resume(path)
    finally:
        other.kill()
        other.wait()
    RunFolder.resume(path)
