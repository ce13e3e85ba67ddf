"""Disks that are full or read-only, and several processes that use one folder."""

import errno
import multiprocessing
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import ROOT, finished, run_script

from datasets.demo.dataset import render_demo
from datasets.images import CropCache
from utils.base.arrays import save_arrays
from utils.base.errors import CheckpointError, StorageError
from utils.base.files import make_folder, write_atomically, write_text
from utils.runs.checkpoint import read_checkpoint, save_checkpoint
from utils.runs.find import find_runs
from utils.runs.run_folder import RunFolder

MEGABYTE = 1 << 20


@pytest.fixture
def small_disk(tmp_path):
    """Return a function that mounts a disk of a size in bytes; `mount -o remount,ro` makes it read-only."""
    folder = tmp_path / "disk"
    folder.mkdir()

    def mount(size: int) -> Path:
        command = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder)]
        if os.name != "posix" or not shutil.which("mount") or subprocess.run(command, capture_output=True).returncode:
            pytest.skip("this machine cannot mount a disk")
        return folder

    yield mount
    if os.path.ismount(folder):
        subprocess.run(["umount", "-l", str(folder)], check=True)


# Atomic writing


def test_a_failed_write_leaves_the_old_file(tmp_path):
    (tmp_path / "a.txt").write_text("before")

    def fail_midway(path):
        path.write_text("hal")
        raise OSError(errno.ENOSPC, "No space left on device")

    with pytest.raises(
        StorageError, match=r"a\.txt: cannot be written \(No space left on device\); free some disk space"
    ):
        write_atomically(tmp_path / "a.txt", fail_midway)
    assert [path.name for path in tmp_path.iterdir()] == ["a.txt"] and (tmp_path / "a.txt").read_text() == "before"


def test_file_and_folder_are_synchronised_before_writing_ends(tmp_path, monkeypatch):
    synced = []
    monkeypatch.setattr(os, "fsync", lambda handle: synced.append(os.readlink(f"/proc/self/fd/{handle}")))
    if not os.path.isdir("/proc/self/fd"):
        pytest.skip("needs /proc to see what is synchronised")
    write_text(tmp_path / "a.txt", "whole")
    assert Path(synced[0]).name.startswith(".a.txt.") and synced[1:] == [str(tmp_path)]


@pytest.mark.parametrize("path", ["none/a.txt", "file/a.txt"])
def test_a_missing_folder_is_reported(tmp_path, path):
    (tmp_path / "file").touch()
    with pytest.raises(StorageError, match=path):
        write_text(tmp_path / path, "")


def test_arrays_below_a_file_and_on_a_read_only_disk_are_refused(tmp_path, small_disk):
    (tmp_path / "file").touch()
    with pytest.raises(StorageError, match=r"file/a: cannot be written \(.*choose another folder"):
        save_arrays(tmp_path / "file" / "a" / "b.npz", {})
    disk = small_disk(MEGABYTE)
    subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)
    with pytest.raises(StorageError, match="disk: cannot be written .*the disk is read-only"):
        make_folder(disk, check=True)


def test_equal_checkpoints_have_equal_bytes_under_any_name(tmp_path):
    content = {"kind": "mtclar", "model": {"a": torch.arange(5.0)}}
    for name in ("best.pt", "other.pt"):
        save_checkpoint(tmp_path / name, content)
    assert (tmp_path / "best.pt").read_bytes() == (tmp_path / "other.pt").read_bytes()


def test_a_checkpoint_that_exceeds_the_disk_leaves_the_previous_one(small_disk):
    disk = small_disk(4 * MEGABYTE)
    save_checkpoint(disk / "last.pt", {"kind": "mtclar", "step": 1, "model": torch.zeros(MEGABYTE // 8)})
    with pytest.raises(StorageError, match=r"last\.pt: cannot be written \(No space left"):
        save_checkpoint(disk / "last.pt", {"kind": "mtclar", "step": 2, "model": torch.zeros(MEGABYTE)})
    assert read_checkpoint(disk / "last.pt", "mtclar")["step"] == 1
    assert os.listdir(disk) == ["last.pt"]


# Scripts on full and read-only disks


@pytest.mark.parametrize("free_bytes", [0, 8192, 40_000, 9 * MEGABYTE, 36 * MEGABYTE])
def test_training_on_a_full_disk_ends_with_one_message_and_keeps_checkpoints(small_disk, tiny_arguments, free_bytes):
    """The disk is full before the settings, TensorBoard's events or last.pt are written, or after an epoch."""
    disk = small_disk(max(free_bytes, 4096))
    if not free_bytes:
        (disk / "full").write_bytes(bytes(4096))
    done = run_script("mtclar.py", *tiny_arguments, "--runs", str(disk))
    assert done.returncode == 2 and "Traceback" not in done.stderr, done.stderr
    assert re.search(
        rf"^error: {disk}.*: cannot be written \(No space left.*free some disk space", done.stderr, re.MULTILINE
    )
    assert not list(disk.rglob("*.tmp"))
    checkpoints = list(disk.rglob("*.pt"))
    assert len(checkpoints) == {9 * MEGABYTE: 1, 36 * MEGABYTE: 2}.get(free_bytes, 0)
    for path in checkpoints:
        assert read_checkpoint(path, "mtclar")["epoch"] == 1


def test_a_data_set_may_be_on_a_read_only_disk(small_disk, tiny_demo, tiny_arguments, tmp_path):
    disk = small_disk(64 * MEGABYTE)
    shutil.copytree(tiny_demo, disk / "demo")
    subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)
    finished("mtclar.py", *tiny_arguments, "--data.root", str(disk / "demo"), "--runs", str(tmp_path))
    for setting in ("--runs", "--data.root"):
        done = run_script("mtclar.py", *tiny_arguments, "--runs", str(tmp_path), setting, str(disk / "new"))
        assert done.returncode == 2 and f"{disk / 'new'}" in done.stderr and "read-only" in done.stderr, done.stderr


def test_a_demo_set_that_exceeds_the_disk_is_removed(small_disk, tiny_arguments, tmp_path):
    disk = small_disk(MEGABYTE)
    done = run_script("mtclar.py", *tiny_arguments, "--runs", str(tmp_path), "--data.root", str(disk / "demo"))
    assert done.returncode == 2 and "Traceback" not in done.stderr
    assert f"{disk / 'demo'}: cannot be written" in done.stderr and os.listdir(disk) == []


def test_a_full_disk_stops_only_the_crop_cache(small_disk, caplog):
    disk = small_disk(MEGABYTE)
    cache = CropCache(disk / "cache", 1e9)
    cache.remaining_bytes = 1e9  # other programs have used the free space
    crops = np.random.default_rng(0).integers(0, 255, (100, 72, 72, 3), np.uint8)
    for number, crop in enumerate(crops):
        cache.write(cache.path((number,)), crop)
    assert cache.remaining_bytes == 0 and sum("not cached any more" in line for line in caplog.messages) == 1
    cached = [cache.read(cache.path((number,))) for number in range(len(crops))]
    assert all(np.array_equal(one, crop) for one, crop in zip(cached, crops, strict=True) if one is not None)
    assert cached[0] is not None and cached[-1] is None and not list(disk.rglob("*.tmp"))


def test_the_crop_cache_leaves_disk_space_for_checkpoints(small_disk):
    disk = small_disk(8 * MEGABYTE)
    cache = CropCache(disk, 1e9)
    cache.write(cache.path((0,)), np.zeros((72, 72, 3), np.uint8))
    assert not list(disk.rglob("*.npy"))


# Several processes


def fill_and_render(barrier, folder: Path) -> None:
    """Fill the crop cache, then render the demo set, at the same time as another process."""
    barrier.wait(300)
    cache = CropCache(folder / "cache", 1e9)
    for number in range(60):
        crop = np.full((72, 72, 3), number, np.uint8)
        cached = cache.read(cache.path((number,)))
        assert cached is None or np.array_equal(cached, crop)
        cache.write(cache.path((number,)), crop)
    render_demo(folder / "demo", **SMALL_DEMO)


SMALL_DEMO = {"people": 3, "frames": 2, "short_frames": 2, "size": 64, "workers": 1}


def test_several_processes_fill_one_cache_and_one_demo_folder(tmp_path):
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
    trees = [
        {path.relative_to(root): path.read_bytes() for path in root.rglob("*") if path.is_file()}
        for root in (tmp_path / "demo", tmp_path / "alone")
    ]
    assert trees[0] == trees[1]
    assert sorted(os.listdir(tmp_path)) == ["alone", "cache", "demo"] and not list(tmp_path.rglob("*.tmp"))


def test_runs_started_in_the_same_second_have_different_folders(tiny_settings):
    paths = {RunFolder.create(tiny_settings, "mtclar").path for _ in range(4)}
    assert len(paths) == 4 and all((path / "settings.yaml").exists() for path in paths)
    assert set(find_runs(tiny_settings.runs / "mtclar", "demo", "settings.yaml")) == paths


@pytest.mark.skipif(os.name != "posix", reason="other systems have no umask")
def test_permissions_are_those_of_the_replaced_file_or_of_the_umask(tmp_path):
    write = "import pathlib, sys; from utils.base import files; files.write_text(pathlib.Path(sys.argv[1]), '')"
    for umask, mode in ((0o077, 0o600), (0o002, 0o664)):
        path = tmp_path / oct(umask)
        subprocess.run([sys.executable, "-c", write, str(path)], cwd=ROOT, umask=umask, check=True)
        assert path.stat().st_mode & 0o777 == mode
        path.chmod(0o640)
        write_text(path, "new")
        assert path.stat().st_mode & 0o777 == 0o640


HOLD_RUN = """
import sys, time
from pathlib import Path
from utils.runs.run_folder import RunFolder
run = RunFolder.resume(Path(sys.argv[1]))
print("held", flush=True)
time.sleep(600)
"""


def test_a_run_is_locked_until_its_process_ends(tiny_settings):
    pytest.importorskip("fcntl")
    path = RunFolder.create(tiny_settings, "mtclar").path
    other = subprocess.Popen([sys.executable, "-c", HOLD_RUN, str(path)], stdout=subprocess.PIPE, text=True, cwd=ROOT)
    try:
        assert other.stdout.readline() == "held\n"
        with pytest.raises(CheckpointError, match="this run is in use"):
            RunFolder.resume(path)
    finally:
        other.kill()
        other.wait()
    RunFolder.resume(path)


def test_a_run_is_locked_in_its_own_process_and_not_by_workers(tiny_settings):
    pytest.importorskip("fcntl")
    run = RunFolder.create(tiny_settings, "mtclar")
    (run.path / "settings.yaml").read_bytes()  # Closing another handle of the file must not release the lock.
    with pytest.raises(CheckpointError, match="this run is in use"):
        RunFolder.resume(run.path)
    reader, writer = os.pipe()
    worker = os.fork()
    if worker == 0:
        os.write(writer, b"started")
        time.sleep(600)
        os._exit(0)
    try:
        os.read(reader, 7)
        run.unlock()
        RunFolder.resume(run.path)
    finally:
        os.kill(worker, signal.SIGKILL)
        os.waitpid(worker, 0)
