"""Backends of the encoder: equal embeddings, choice by the size of the job, fallback when one fails, integers."""

import dataclasses
import gc
import importlib.util
import logging
import shutil
import subprocess
import sys
import weakref
from functools import partial
from pathlib import Path

import pytest
import torch
from torch import nn

from models.mtclar import MTCLAR
from utils.base.errors import DataError, SettingsError
from utils.base.openvino import openvino_core
from utils.compute.backends import BREAK_EVEN_IMAGES, Backends, Eager, OpenVINO, batch_size, padded
from utils.compute.integers import SAMPLE_FACES, FaceSample
from utils.compute.runtime import make_runtime
from utils.config.sections import RuntimeSettings

SIZE = 64
CROPS = torch.randint(0, 256, (7, 3, SIZE, SIZE), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


def runtime(backend="auto", precision="float32"):
    return make_runtime(RuntimeSettings(device="cpu", precision=precision, backend=backend))


@pytest.fixture(scope="module")
def model() -> MTCLAR:
    torch.manual_seed(0)
    model = MTCLAR(32).train()
    with torch.no_grad():
        model.encode(torch.rand(4, 3, SIZE, SIZE))  # gives the norms non-trivial running statistics
    return runtime().to_device(model.eval())


@pytest.fixture(scope="module")
def expected(model):
    with torch.inference_mode():
        return torch.cat([model.encode(crop[None].float() / 255) for crop in CROPS])


@pytest.fixture(scope="module")
def converted(model, tmp_path_factory) -> Path:
    """Folder with the network converted for OpenVINO. Converting takes seconds, so the tests share it."""
    pytest.importorskip("openvino")
    folder = tmp_path_factory.mktemp("converted")
    Backends(folder, "weights", runtime("openvino")).create("openvino", model, SIZE)
    return folder


@pytest.fixture(params=["eager", "compile", "openvino"])
def backends(request, tmp_path, monkeypatch) -> Backends:
    folder = request.getfixturevalue("converted") if request.param == "openvino" else tmp_path
    monkeypatch.setattr("utils.compute.runtime.Runtime.can_compile", True)
    monkeypatch.setattr(
        torch, "compile", partial(torch.compile, backend="eager")
    )  # traces the network without compiling it for minutes
    return Backends(folder, "weights", runtime(request.param))


def relative_error(actual, expected):
    return (actual - expected).norm() / expected.norm()


def test_each_backend_gives_the_same_embeddings(backends, model, expected, monkeypatch):
    monkeypatch.setattr("utils.compute.backends.MAX_BATCH", 4)  # so that the last batch is not full
    name = backends.choose(model, 1, SIZE)
    encode = backends.create(name, model, SIZE)
    assert encode.name == name == backends.runtime.backend and encode.batch == 4
    embeddings = encode(CROPS)
    assert embeddings.dtype == torch.float32 and relative_error(embeddings, expected) < 1e-4
    assert torch.equal(encode(CROPS[4:5]), embeddings[4:5])  # independent of the other images
    assert backends.create(name, model, SIZE) is encode


@pytest.mark.parametrize("backend", ["eager", "openvino"])
def test_bfloat16_is_within_tolerance(backend, model, expected, request, tmp_path):
    folder = request.getfixturevalue("converted") if backend == "openvino" else tmp_path
    backends = Backends(folder, "weights", runtime(backend, "bfloat16"))
    assert relative_error(backends.create(backend, model, SIZE)(CROPS), expected) < 0.02


def test_full_batches_are_not_copied():
    assert padded(CROPS, len(CROPS)) is CROPS
    assert torch.equal(padded(CROPS[:5], 7), torch.cat([CROPS[:5], torch.zeros_like(CROPS[:2])]))


def test_frozen_network_gives_the_same_embeddings(expected, model, tmp_path):
    pytest.importorskip("openvino")
    frozen = MTCLAR(32)
    frozen.load_state_dict(model.state_dict())
    frozen.encoder.freeze_landmarks()
    assert relative_error(OpenVINO(frozen.eval(), runtime(), SIZE, tmp_path / "x.xml")(CROPS), expected) < 1e-4


def test_signals_are_handled_after_networks_are_released_in_the_order_of_their_creation(converted):
    (path,) = converted.glob("*.xml")
    script = """
import signal
import sys
from pathlib import Path
from models.mtclar import MTCLAR
from utils.compute.backends import OpenVINO
from utils.compute.runtime import make_runtime
from utils.config.sections import RuntimeSettings

runtime = make_runtime(RuntimeSettings(device="cpu", precision="float32"))
first = OpenVINO(MTCLAR(32), runtime, int(sys.argv[1]), Path(sys.argv[2]))
second = OpenVINO(MTCLAR(32), runtime, int(sys.argv[1]), Path(sys.argv[2]))
del first
del second
signal.signal(signal.SIGINT, lambda *_: print("handled"))
signal.raise_signal(signal.SIGINT)
"""
    done = subprocess.run(
        [sys.executable, "-c", script, str(SIZE), str(path)], capture_output=True, text=True, timeout=120
    )
    assert (done.stdout, done.returncode) == ("handled\n", 0), done.stderr


def test_converted_network_is_kept_and_a_damaged_one_is_converted_again(
    model, expected, converted, tmp_path, monkeypatch
):
    (original,) = converted.glob("*.xml")
    conversions = []

    def convert(encoder, image_size):
        conversions.append(image_size)
        return openvino_core().read_model(original)

    monkeypatch.setattr("utils.compute.backends._convert", convert)
    path = tmp_path / "kept" / "network.xml"
    first = OpenVINO(model, runtime(), SIZE, path)(CROPS)
    assert sorted(file.name for file in path.parent.iterdir()) == ["network.bin", "network.xml"]
    assert torch.equal(OpenVINO(model, runtime(), SIZE, path)(CROPS), first) and conversions == [SIZE]
    assert relative_error(first, expected) < 1e-4
    for file in ("network.bin", "network.xml"):
        (path.parent / file).write_bytes((path.parent / file).read_bytes()[:1000])
        assert relative_error(OpenVINO(model, runtime(), SIZE, path)(CROPS), expected) < 1e-4
    assert conversions == [SIZE] * 3


def test_unused_backend_is_freed(model, converted):
    encode = OpenVINO(model, runtime(), SIZE, next(converted.glob("*.xml")))
    encode(CROPS)
    reference = weakref.ref(encode)
    del encode
    gc.collect()
    assert reference() is None  # else, each video encoded in integers would leave its network in memory


def break_even(name: str) -> int:
    """Number of images of the small network from which the backend is chosen."""
    return int(BREAK_EVEN_IMAGES[name] * (256 / SIZE * 256 / 32) ** 2) + 1


def test_auto_chooses_by_the_size_of_the_job(tmp_path, model, monkeypatch):
    packages = {"openvino": True}
    monkeypatch.setattr("importlib.util.find_spec", lambda name: packages.get(name))
    monkeypatch.setattr("importlib.metadata.version", lambda name: "1")
    backends = Backends(tmp_path, "weights", runtime())
    few, many, most = 10, break_even("openvino"), break_even("compile")
    assert [backends.choose(model, images, SIZE) for images in (few, many, most)] == ["eager", "openvino", "openvino"]
    backends._path(SIZE).touch()
    assert backends.choose(model, few, SIZE) == "eager"  # networks converted during this run do not count
    again = Backends(tmp_path, "weights", runtime())
    assert again.choose(model, few, SIZE) == "openvino" and again.choose(model, few, 2 * SIZE) == "eager"
    packages.clear()
    for can_compile, amx, chosen in ((True, True, "compile"), (True, False, "eager"), (False, True, "eager")):
        monkeypatch.setattr("utils.compute.runtime.Runtime.can_compile", can_compile)
        monkeypatch.setattr("utils.compute.backends.has_amx", lambda amx=amx: amx)
        assert [again.choose(model, images, SIZE) for images in (few, many, most)] == ["eager", "eager", chosen]


def skip_without_nncf():
    if not (importlib.util.find_spec("openvino") and importlib.util.find_spec("nncf")):
        pytest.skip("needs nncf")


@pytest.fixture
def quantised(model, converted, tmp_path):
    """Create the backend of integers for the faces of a video, in a new run."""
    skip_without_nncf()
    shutil.copytree(converted, tmp_path, dirs_exist_ok=True)

    def create(sample: FaceSample):
        backends = Backends(tmp_path, "weights", runtime("openvino-int8"))
        return backends.create("openvino-int8", model, SIZE, sample)

    return create


def faces(seed: int) -> FaceSample:
    """Images of a video. They are smooth, since noise of single pixels leaves nothing to be estimated."""
    rng = torch.Generator().manual_seed(seed)
    coarse = torch.rand(SAMPLE_FACES, 3, 4, 4, generator=rng)
    images = (255 * nn.functional.interpolate(coarse, size=SIZE, mode="bicubic").clamp(0, 1)).byte()
    return FaceSample(str(seed), lambda: images)


def test_integers_give_nearly_the_same_estimates_and_are_kept(quantised, model, monkeypatch, tmp_path, capfd):
    crops = faces(0).read()[:20]
    embeddings = quantised(faces(0))(crops)
    with torch.inference_mode():
        expected = model.encode(crops.float() / 255)
    assert 1e-4 < relative_error(embeddings, expected) < 0.05
    assert (model.estimates(embeddings) - model.estimates(expected)).abs().max() < 0.03
    assert capfd.readouterr().out == ""  # no progress bar
    assert len(list(tmp_path.glob("*.int8.*"))) == 2
    with monkeypatch.context() as patch:
        patch.setattr("utils.compute.backends.quantise", None)
        kept = quantised(FaceSample("0", None))
    assert torch.equal(kept(crops), embeddings)
    assert not torch.equal(quantised(faces(1))(crops), embeddings)  # another video has ranges of its own


def test_quantising_opens_no_connection():
    skip_without_nncf()
    script = """
import sys
connections = []
sys.addaudithook(lambda event, _: connections.append(event) if event.startswith("socket.") else None)

import numpy as np
import torch
from utils.base.openvino import import_openvino
from utils.compute.integers import quantise

opset = import_openvino().opset15
parameter = opset.parameter([2, 3, 8, 8], np.uint8)
features = opset.convert(parameter, np.float32)
for shape in ((4, 3, 3, 3), (4, 4, 3, 3)):
    features = opset.convolution(features, np.ones(shape, np.float32), [1, 1], [0, 0], [0, 0], [1, 1])
quantised = quantise(import_openvino().Model([features], [parameter]), torch.ones(2, 3, 8, 8, dtype=torch.uint8))
names = [operation.get_type_name() for operation in quantised.get_ordered_ops()]
assert "FakeQuantize" in names and names.index("FakeQuantize") > names.index("Convolution")  # not that of the images
assert sys.modules["openvino_telemetry"] is None
print(connections)
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=120)
    assert (done.stdout.strip(), done.returncode) == ("[]", 0), done.stderr


def test_integers_that_change_the_estimates_are_refused_in_later_runs_too(quantised, monkeypatch, tmp_path):
    with monkeypatch.context() as patch:
        patch.setattr("utils.compute.integers.TOLERANCE", 0)
        with pytest.raises(DataError, match=r"the estimates: on 72 faces of this video, \d+\.\d% .*auto") as first:
            quantised(faces(0))
    (refusal,) = tmp_path.glob("*.int8.*")
    with monkeypatch.context() as patch:
        patch.setattr("utils.compute.backends.quantise", None)
        with pytest.raises(DataError) as again:
            quantised(FaceSample("0", None))
    assert str(again.value).replace("0.03", "0") == str(first.value)
    refusal.write_text('{"faces": 72')  # damaged
    quantised(faces(0))


def test_only_videos_of_enough_faces_are_encoded_in_integers(model, tmp_path, monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: True)
    backends = Backends(tmp_path, "weights", runtime("openvino-int8"))
    assert backends.choose(model, 10**6, SIZE) == backends.choose(model, 1, SIZE, is_video=True) == "openvino"
    assert backends.choose(model, SAMPLE_FACES, SIZE, is_video=True) == "openvino-int8"


def test_auto_compiles_for_a_large_job_on_a_gpu(tmp_path, model, monkeypatch):
    on_gpu = dataclasses.replace(runtime(), device=torch.device("cuda"))
    backends, most = Backends(tmp_path, "weights", on_gpu), break_even("compile on a GPU")
    for can_compile, chosen in ((True, "compile"), (False, "eager")):
        monkeypatch.setattr("utils.compute.runtime.Runtime.can_compile", can_compile)
        assert [backends.choose(model, images, SIZE) for images in (10, most)] == ["eager", chosen]


def test_a_failing_backend_is_replaced_or_reported(tmp_path, model, expected, monkeypatch, caplog):
    def broken(*_):
        raise RuntimeError("engine on fire\nat line 7")

    monkeypatch.setattr("utils.compute.backends.OpenVINO", broken)
    monkeypatch.setattr("importlib.metadata.version", lambda name: "1")  # the package is optional
    backends = Backends(tmp_path, "weights", runtime())
    with caplog.at_level(logging.WARNING):
        encode = backends.create("openvino", model, SIZE)
    assert [record.message for record in caplog.records if record.levelno == logging.WARNING] == [
        "encoding without openvino, which does not work on this machine (engine on fire)"
    ]
    assert encode.name == "eager" and relative_error(encode(CROPS), expected) < 1e-4
    assert backends.choose(model, 10**9, SIZE) != "openvino"
    named = Backends(tmp_path, "weights", dataclasses.replace(runtime(), backend="openvino"))
    with pytest.raises(SettingsError, match=r"runtime\.backend: openvino.*engine on fire\); use auto"):
        named.create("openvino", model, SIZE)


def test_a_missing_backend_is_reported(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    for backend, packages in (("openvino", "openvino"), ("openvino-int8", "openvino, nncf")):
        with pytest.raises(SettingsError, match=rf"{backend} needs .*\({packages}\); .* requirements-fast\.txt"):
            runtime(backend)
    monkeypatch.setattr("utils.compute.runtime.Runtime.can_compile", False)
    with pytest.raises(SettingsError, match="compile finds no compiler"):
        runtime("compile")


def test_a_batch_that_exceeds_the_memory_is_halved(model, expected):
    encode = Eager(model, runtime(), SIZE)
    original, sizes = encode.encode, []

    def small_memory(images):
        sizes.append(len(images))
        if len(images) > 2:
            raise torch.OutOfMemoryError("full")
        return original(images)

    encode.encode = small_memory
    assert relative_error(encode(CROPS), expected) < 1e-4
    assert encode.batch == 2 and sizes.count(2) == 4
    encode(CROPS[:2])
    assert sizes[-1] == 2


def test_errors_of_the_network_are_not_hidden(tmp_path):
    class Failing(nn.Module):
        def encode(self, images):
            raise KeyError("failure")

    with pytest.raises(KeyError):
        Backends(tmp_path, "weights", runtime()).create("eager", Failing(), SIZE)(CROPS)


def test_batches_fit_the_processor():
    cpu = torch.device("cpu")
    assert [batch_size(cpu, size) for size in (64, 128, 256, 1024)] == [64, 32, 8, 1]
    assert [batch_size(torch.device(name), 256) for name in ("cuda", "mps")] == [256, 64]
