"""Back ends of the encoder: the same embeddings by each, chosen by the job's length, never a lost image."""

import dataclasses
import logging
from functools import partial

import pytest
import torch
from torch import nn

from models.mtclar import MTCLAR
from utils.backends import PAYS, BackEnds, Eager, OpenVINO, batch_size
from utils.errors import SettingsError
from utils.runtime import make_runtime
from utils.settings import RuntimeSettings

SIZE = 64
CROPS = torch.randint(0, 256, (7, 3, SIZE, SIZE), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


def runtime(backend="auto", precision="float32"):
    return make_runtime(RuntimeSettings(device="cpu", precision=precision, backend=backend))


@pytest.fixture(scope="module")
def model() -> MTCLAR:
    torch.manual_seed(0)
    model = MTCLAR(32).train()
    with torch.no_grad():
        model.encode(torch.rand(4, 3, SIZE, SIZE))  # running statistics of their own
    return runtime().place(model.eval())


@pytest.fixture(scope="module")
def truth(model):
    with torch.inference_mode():
        return torch.cat([model.encode(crop[None].float() / 255) for crop in CROPS])


@pytest.fixture(params=["eager", "compile", "openvino"])
def back_ends(request, tmp_path, monkeypatch) -> BackEnds:
    if request.param == "openvino":
        pytest.importorskip("openvino")
    monkeypatch.setattr("utils.runtime.Runtime.can_compile", True)
    monkeypatch.setattr(torch, "compile", partial(torch.compile, backend="eager"))  # traced, but not for minutes
    return BackEnds(tmp_path, "weights", runtime(request.param))


def relative(found, truth):
    return (found - truth).norm() / truth.norm()


def test_each_back_end_encodes_every_image_alike(back_ends, model, truth, monkeypatch):
    monkeypatch.setattr("utils.backends.BATCH", 4)  # so that the last batch is not full
    name = back_ends.choose(model, 1, SIZE)
    encode = back_ends.make(name, model, SIZE)
    assert encode.name == name == back_ends.runtime.backend and encode.batch == 4
    found = encode(CROPS)
    assert found.dtype == torch.float32 and relative(found, truth) < 1e-4
    assert torch.equal(encode(CROPS[4:5]), found[4:5])  # whatever stands beside it
    assert back_ends.make(name, model, SIZE) is encode


@pytest.mark.parametrize("backend", ["eager", "openvino"])
def test_bfloat16_is_within_tolerance(backend, model, truth, tmp_path):
    if backend == "openvino":
        pytest.importorskip("openvino")
    back_ends = BackEnds(tmp_path, "weights", runtime(backend, "bfloat16"))
    assert relative(back_ends.make(backend, model, SIZE)(CROPS), truth) < 0.02


def test_frozen_network_encodes_as_before(truth, model, tmp_path):
    pytest.importorskip("openvino")
    frozen = MTCLAR(32)
    frozen.load_state_dict(model.state_dict())
    frozen.encoder.freeze_landmarks()
    assert relative(OpenVINO(frozen.eval(), runtime(), SIZE, tmp_path / "x.xml")(CROPS), truth) < 1e-4


def test_converted_network_is_kept_and_a_broken_one_is_made_anew(model, truth, tmp_path, monkeypatch):
    pytest.importorskip("openvino")
    path = tmp_path / "kept" / "network.xml"
    OpenVINO(model, runtime(), SIZE, path)
    assert sorted(file.name for file in path.parent.iterdir()) == ["network.bin", "network.xml"]
    with monkeypatch.context() as patch:
        patch.setattr("utils.backends._convert", None)
        assert relative(OpenVINO(model, runtime(), SIZE, path)(CROPS), truth) < 1e-4
    for file, kept in (("network.bin", 1000), ("network.xml", 1000)):
        (path.parent / file).write_bytes((path.parent / file).read_bytes()[:kept])
        assert relative(OpenVINO(model, runtime(), SIZE, path)(CROPS), truth) < 1e-4


def enough(name: str) -> int:
    """Images of the small network that earn the start back."""
    return int(PAYS[name] * (256 / SIZE * 256 / 32) ** 2) + 1


def test_auto_chooses_by_the_length_of_the_job(tmp_path, model, monkeypatch):
    packages = {"openvino": True}
    monkeypatch.setattr("importlib.util.find_spec", lambda name: packages.get(name))
    monkeypatch.setattr("importlib.metadata.version", lambda name: "1")
    back_ends = BackEnds(tmp_path, "weights", runtime())
    few, many, most = 10, enough("openvino"), enough("compile")
    assert [back_ends.choose(model, images, SIZE) for images in (few, many, most)] == ["eager", "openvino", "openvino"]
    back_ends._path(SIZE).touch()
    assert back_ends.choose(model, few, SIZE) == "eager"  # not what this run itself has left
    again = BackEnds(tmp_path, "weights", runtime())
    assert again.choose(model, few, SIZE) == "openvino" and again.choose(model, few, 2 * SIZE) == "eager"
    packages.clear()
    for can, amx, chosen in ((True, True, "compile"), (True, False, "eager"), (False, True, "eager")):
        monkeypatch.setattr("utils.runtime.Runtime.can_compile", can)
        monkeypatch.setattr("utils.backends.has_amx", lambda amx=amx: amx)
        assert [again.choose(model, images, SIZE) for images in (few, many, most)] == ["eager", "eager", chosen]


def test_auto_compiles_for_a_long_job_on_a_gpu(tmp_path, model, monkeypatch):
    on_gpu = dataclasses.replace(runtime(), device=torch.device("cuda"))
    back_ends, most = BackEnds(tmp_path, "weights", on_gpu), enough("compile on a GPU")
    for can, chosen in ((True, "compile"), (False, "eager")):
        monkeypatch.setattr("utils.runtime.Runtime.can_compile", can)
        assert [back_ends.choose(model, images, SIZE) for images in (10, most)] == ["eager", chosen]


def test_a_back_end_that_fails_is_left_or_named(tmp_path, model, truth, monkeypatch, caplog):
    def broken(*_):
        raise RuntimeError("engine on fire\nat line 7")

    monkeypatch.setattr("utils.backends.OpenVINO", broken)
    monkeypatch.setattr("importlib.metadata.version", lambda name: "1")  # the package is optional
    back_ends = BackEnds(tmp_path, "weights", runtime())
    with caplog.at_level(logging.WARNING):
        encode = back_ends.make("openvino", model, SIZE)
    assert [record.message for record in caplog.records if record.levelno == logging.WARNING] == [
        "encoding without openvino, which does not work here (engine on fire)"
    ]
    assert encode.name == "eager" and relative(encode(CROPS), truth) < 1e-4
    assert back_ends.choose(model, 10**9, SIZE) != "openvino"
    named = BackEnds(tmp_path, "weights", dataclasses.replace(runtime(), backend="openvino"))
    with pytest.raises(SettingsError, match=r"runtime\.backend openvino.*engine on fire\); use auto"):
        named.make("openvino", model, SIZE)


def test_a_back_end_that_is_not_there_is_one_error(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(SettingsError, match=r"requirements-fast\.txt"):
        runtime("openvino")
    monkeypatch.setattr("utils.runtime.Runtime.can_compile", False)
    with pytest.raises(SettingsError, match="compile finds no compiler"):
        runtime("compile")


def test_a_batch_that_does_not_fit_is_halved_until_it_does(model, truth):
    encode = Eager(model, runtime(), SIZE)
    whole, sizes = encode.encode, []

    def small_memory(images):
        sizes.append(len(images))
        if len(images) > 2:
            raise torch.OutOfMemoryError("full")
        return whole(images)

    encode.encode = small_memory
    assert relative(encode(CROPS), truth) < 1e-4
    assert encode.batch == 2 and sizes.count(2) == 4
    encode(CROPS[:2])
    assert sizes[-1] == 2


def test_what_the_network_raises_is_not_hidden(tmp_path):
    class Odd(nn.Module):
        def encode(self, images):
            raise KeyError("odd")

    with pytest.raises(KeyError):
        BackEnds(tmp_path, "weights", runtime()).make("eager", Odd(), SIZE)(CROPS)


def test_batches_fit_the_processor():
    cpu = torch.device("cpu")
    assert [batch_size(cpu, size) for size in (64, 128, 256, 1024)] == [64, 32, 8, 1]
    assert batch_size(torch.device("cuda"), 256) == 64
