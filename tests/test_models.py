"""The networks: published outputs, tensor names, shapes, and which parts are trained."""

import numpy as np
import pytest
import torch
from published import GOLDEN, KEYS, emonet_state, images, siamese_state, weight

from models.emonet import EmoNet, Encoder, rename_published
from models.mtclar import MTCLAR
from models.supervised import Supervised, SupervisedHead
from utils.base.errors import CheckpointError
from utils.runs.checkpoint import load_emonet, load_mtclar, start_from_emonet


def assert_close(actual, expected):
    np.testing.assert_allclose(np.asarray(actual), np.asarray(expected), rtol=1e-4, atol=1e-5)


@pytest.fixture(scope="module", params=["", "module."])
def siamese(request, tmp_path_factory) -> MTCLAR:
    """The authors' network, loaded as `--checkpoint` from a file with the published tensor names."""
    path = tmp_path_factory.mktemp("published") / "siamese.pth"
    torch.save({request.param + key: value for key, value in siamese_state().items()}, path)
    model, settings = load_mtclar(path)
    assert settings["data"] == {"image_size": 256} and not model.training
    return model


@torch.inference_mode()
def test_emonet_reproduces_published_outputs():
    model = EmoNet().eval()
    model.load_state_dict({rename_published(key): value for key, value in emonet_state().items()})
    out = model(images())
    assert_close(out.expression, GOLDEN["expression"])
    assert_close(out.valence, GOLDEN["valence"])
    assert_close(out.arousal, GOLDEN["arousal"])
    *_, heatmaps = model.encoder.landmarks(images())
    assert_close(heatmaps.double().sum((1, 2, 3)), GOLDEN["heatmap_sum_per_image"])
    assert_close(heatmaps[0, 0, 0, :8], GOLDEN["heatmap_first_row"])


@torch.inference_mode()
def test_siamese_network_reproduces_published_outputs(siamese):
    golden = GOLDEN["siamese"]
    a, b = siamese.encode(images()).split(1)
    assert_close(a[0, :8], golden["embedding_first8"])
    assert_close(a.norm(), golden["embedding_norm"])
    pair, swapped = siamese.compare(a, b), siamese.compare(b, a)
    assert_close(pair.similarity_logits[0], golden["similarity_logits"])
    assert_close(siamese.delta_valence(siamese.join(a, b)).item(), golden["delta_valence_raw"])
    assert_close(siamese.delta_arousal(siamese.join(a, b)).item(), golden["delta_arousal_raw"])
    assert_close(pair.delta_valence.item(), golden["delta_valence"])
    assert_close(pair.delta_arousal.item(), 2 * np.tanh(golden["delta_arousal_raw"]))
    assert_close(swapped.similarity_logits[0], golden["swapped_similarity_logits"])
    assert_close(siamese.delta_valence(siamese.join(b, a)).item(), golden["swapped_delta_valence_raw"])


@torch.inference_mode()
def test_supervised_head_reproduces_published_outputs(siamese):
    head = SupervisedHead(8, tanh=True).eval()
    names = {"linear": "hidden", "fc": "output.0"}
    state = {}
    for key, shape in KEYS["linear"].items():
        first, _, rest = key.partition(".")
        state[f"{names[first]}.{rest}".replace("output.0.0.", "output.")] = weight(key, shape)
    head.load_state_dict(state)
    embedding = siamese.encode(images()[:1])
    assert_close(head(embedding)[0], GOLDEN["supervised_head_tanh_8"])


@torch.inference_mode()
def test_estimates_of_supervised_heads():
    affect, expression = (Supervised(Encoder(16), SupervisedHead(outputs)) for outputs in (2, 8))
    embeddings = torch.randn(5, 256)
    assert torch.equal(affect.estimates(embeddings), affect.head(embeddings))
    probabilities = expression.estimates(embeddings)
    assert_close(probabilities.sum(1), np.ones(5))
    assert torch.equal(probabilities.argmax(1), expression.head(embeddings).argmax(1))


@torch.inference_mode()
def test_comparing_embeddings_equals_comparing_images(siamese):
    a, b = images().split(1)
    from_embeddings = siamese.compare(siamese.encode(a), siamese.encode(b))
    for direct, separate in zip(siamese(a, b), from_embeddings, strict=True):
        torch.testing.assert_close(direct, separate, rtol=1e-4, atol=1e-5)


def test_number_of_parameters():
    assert sum(p.numel() for p in EmoNet().parameters()) == pytest.approx(13.96e6, rel=1e-3)
    assert sum(p.numel() for p in MTCLAR().parameters()) == pytest.approx(25.17e6, rel=1e-3)


@pytest.mark.parametrize("size", [64, 128, 192])
def test_smaller_images_and_widths(size):
    embeddings = Encoder(width=32).eval()(torch.rand(2, 3, size, size))
    assert embeddings.shape == (2, 256) and embeddings.isfinite().all()


@pytest.mark.parametrize("fusion", ["concat", "absolute", "multiply"])
def test_output_shapes_and_ranges_of_each_fusion(fusion):
    model = MTCLAR(32, fusion).eval()
    a, b = torch.randn(2, 5, 256)
    out, swapped = model.compare(100 * a, 100 * b), model.compare(100 * b, 100 * a)
    assert out.similarity_logits.shape == (5, 2) and out.delta_valence.shape == out.delta_arousal.shape == (5,)
    assert (out.delta_valence.abs() <= 2).all() and (out.delta_arousal.abs() <= 2).all()
    assert torch.equal(out.similarity_logits, swapped.similarity_logits) == (fusion != "concat")


@torch.inference_mode()
@pytest.mark.parametrize("fusion", ["concat", "absolute", "multiply"])
@pytest.mark.parametrize("frames, anchors", [(7, 1), (1, 9), (5, 6), (23, 11)])
def test_compare_all_equals_compare_of_each_pair(monkeypatch, fusion, frames, anchors):
    monkeypatch.setattr("models.mtclar.PAIRS_PER_BLOCK", 12)
    monkeypatch.setattr("models.mtclar.ANCHORS_PER_BLOCK", 4)
    model = MTCLAR(32, fusion).train()
    model.compare(*torch.randn(2, 64, 256))  # gives the norms non-trivial running statistics
    a, b = torch.randn(frames, 256), torch.randn(anchors, 256)
    together = model.eval().compare_all(a, b)
    one_by_one = model.compare(a.repeat_interleave(anchors, 0), b.repeat(frames, 1))
    for actual, expected in zip(together, one_by_one, strict=True):
        torch.testing.assert_close(actual, expected.unflatten(0, (frames, anchors)), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("classes", [8, 5])
@pytest.mark.parametrize("prefix", ["", "module."])
def test_published_files_load(tmp_path, classes, prefix):
    path = tmp_path / "emonet.pth"
    state = emonet_state(classes)
    torch.save({prefix + key: value for key, value in state.items()}, path)
    model = load_emonet(path)
    assert model.head[3].out_features == classes + 2 and not model.training
    loaded = model.state_dict()
    assert len(loaded) == len(state)
    for key, value in state.items():
        assert torch.equal(loaded[rename_published(key)], value), key


def test_published_siamese_files_may_be_wrapped_or_lack_the_head_of_emonet(tmp_path, siamese):
    state = {key: value for key, value in siamese_state().items() if ".emo_fc_2." not in key}
    torch.save({"epoch": 3, "state_dict": state}, tmp_path / "siamese.pth")
    loaded = load_mtclar(tmp_path / "siamese.pth")[0].state_dict()
    assert all(torch.equal(loaded[key], value) for key, value in siamese.state_dict().items())


@pytest.mark.parametrize(
    "change, message",
    [
        (lambda state: state.pop("fc0.1.weight"), "delta_valence.1.weight is missing"),
        (lambda state: state.update({"fc9.1.weight": torch.zeros(1)}), "fc9.1.weight is not of this network"),
        (lambda state: state.update({"emo_net.m9.x": torch.zeros(1)}), "m9.x is not of this network"),
        (lambda state: state.update({"fc.1.weight": torch.zeros(2048, 256)}), "similarity.1.weight has shape"),
        (lambda state: state.update({"fc.1.weight": 3}), "holds no weights"),
    ],
)
def test_other_siamese_files_are_refused_by_name(tmp_path, change, message):
    state = siamese_state()
    change(state)
    torch.save(state, tmp_path / "siamese.pth")
    with pytest.raises(CheckpointError, match=message.replace(".", r"\.")):
        load_mtclar(tmp_path / "siamese.pth")


@pytest.mark.parametrize(
    "change, message",
    [
        (lambda state: state.pop("m1.b2_plus_1.conv2.weight"), "stage2.hourglass.inner.inner.inner.inner.conv2"),
        (lambda state: state.update({"m0.b9_4.conv1.weight": torch.zeros(1)}), "m0.b9_4.conv1.weight is not of this"),
        (lambda state: state.update({"emo_net_2.x.weight": torch.zeros(1)}), "emo_net_2.x.weight is not of this"),
        (lambda state: state.update({"extra.weight": torch.zeros(1)}), "extra.weight"),
        (lambda state: state.update({"al0.weight": torch.zeros(256, 67, 1, 1)}), "merge_heatmaps.weight has shape"),
    ],
)
def test_wrong_keys_and_shapes_are_refused_by_name(tmp_path, change, message):
    state = emonet_state()
    change(state)
    torch.save(state, tmp_path / "emonet.pth")
    with pytest.raises(CheckpointError, match=message.replace(".", r"\.")):
        load_emonet(tmp_path / "emonet.pth")


def test_error_for_missing_weights_names_their_source(tmp_path):
    with pytest.raises(CheckpointError, match="github.com/face-analysis/emonet"):
        load_emonet(tmp_path / "emonet_8.pth")


def test_training_leaves_the_published_landmark_network_unchanged(tmp_path):
    torch.save(emonet_state(), tmp_path / "emonet.pth")
    model = MTCLAR()
    start_from_emonet(model.encoder, tmp_path / "emonet.pth")
    before = {key: value.clone() for key, value in model.encoder.state_dict().items()}
    optimizer = torch.optim.Adam([p for p in model.parameters() if p.requires_grad], 1e-2)
    model.train()
    sum(out.float().square().sum() for out in model(*torch.rand(2, 2, 3, 64, 64))).backward()
    optimizer.step()
    for key, value in model.encoder.state_dict().items():
        changed = not torch.equal(value, before[key])
        assert changed == key.startswith("emotion."), key


def test_estimate_averages_image_and_mirror_image():
    model = EmoNet().eval()
    faces = torch.rand(2, 3, 64, 64)
    direct, mirrored, averaged = model(faces), model(faces.flip(3)), model.estimate(faces)
    torch.testing.assert_close(averaged.valence, ((direct.valence + mirrored.valence) / 2).detach())
    assert torch.equal(averaged.expression, direct.expression.detach())
