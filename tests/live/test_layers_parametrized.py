"""Weight and spectral normalisation in both of PyTorch's styles: carried between equals, refused by name elsewhere."""

from __future__ import annotations

import warnings

import numpy as np
import pytest

import weightport as wp
from live_cases import randomise
from weightport import RefusedError

keras = pytest.importorskip("keras")
torch = pytest.importorskip("torch")

utils = torch.nn.utils
STYLES = {
    "old weight norm": (utils.weight_norm, utils.remove_weight_norm),
    "weight norm": (utils.parametrizations.weight_norm, utils.parametrize.remove_parametrizations),
    "old spectral norm": (utils.spectral_norm, utils.remove_spectral_norm),
    "spectral norm": (utils.parametrizations.spectral_norm, utils.parametrize.remove_parametrizations),
}
style_of = pytest.mark.parametrize("style", list(STYLES))


def normalised(style, seed):
    """A convolution and a dense layer, the first one normalised."""
    torch.manual_seed(seed)
    module = torch.nn.Module()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        module.conv = STYLES[style][0](torch.nn.Conv1d(4, 6, 3))
    module.dense = torch.nn.Linear(6, 5)
    return module.eval()


@style_of
def test_it_is_refused_with_the_call_that_makes_a_plain_weight(style, tmp_path, weightport):
    torch.save(normalised(style, 1).state_dict(), tmp_path / "m.pt")
    template = keras.Sequential([keras.Input((9, 4)), keras.layers.Conv1D(6, 3, name="conv")])
    template.save(tmp_path / "t.keras")
    output = weightport("convert", tmp_path / "m.pt", tmp_path / "m.keras", "--into", tmp_path / "t.keras", status=1)
    remove = STYLES[style][1].__name__
    assert f'{remove}(conv, "weight") and save it again' in " ".join(output.split())
    assert not (tmp_path / "m.keras").exists()


@style_of
def test_once_it_is_removed_the_layer_computes_the_same_in_keras(style):
    """So the call in the message is one that works."""
    module = normalised(style, 2)
    inputs = np.random.default_rng(3).normal(size=(3, 9, 4)).astype("float32")
    model = keras.Sequential(
        [keras.Input((9, 4)), keras.layers.Conv1D(6, 3, name="conv"), keras.layers.Dense(5, name="dense")]
    )
    randomise(model.weights, 5)
    with pytest.raises(RefusedError, match="conv"):
        wp.convert(module, model)
    with torch.no_grad():
        expected = module.dense(module.conv(torch.from_numpy(inputs).movedim(-1, 1)).movedim(1, -1)).numpy()
    STYLES[style][1](module.conv, "weight")
    wp.convert(module, model)
    np.testing.assert_allclose(np.asarray(model(inputs)), expected, rtol=0, atol=1e-5)


@style_of
def test_between_two_modules_of_one_style_every_part_is_carried(style, tmp_path, weightport):
    source, target = normalised(style, 4), normalised(style, 5)
    torch.save(source.state_dict(), tmp_path / "m.pt")
    torch.save(target.state_dict(), tmp_path / "t.pt")
    weightport("convert", tmp_path / "m.pt", tmp_path / "out.pt", "--into", tmp_path / "t.pt")
    found = torch.load(tmp_path / "out.pt", weights_only=True)
    assert list(found) == list(source.state_dict())
    for name, tensor in source.state_dict().items():
        assert torch.equal(found[name], tensor), name


def test_a_recurrent_weight_can_be_normalised_alone(tmp_path):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        module = utils.weight_norm(torch.nn.LSTM(4, 6), "weight_hh_l0")
    torch.save(module.state_dict(), tmp_path / "m.pt")
    reasons = set(wp.open(tmp_path / "m.pt").structure.unknown.values())
    assert reasons == {
        "the root module: its weight_hh_l0 is weight-normalised (weight_hh_l0_g, weight_hh_l0_v) and only computed "
        'when it runs; call torch.nn.utils.remove_weight_norm(module, "weight_hh_l0") and save it again'
    }
