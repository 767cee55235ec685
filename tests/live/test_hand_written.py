"""Whole models into hand-written twins with other names and other grouping, both ways, and run."""

from __future__ import annotations

import numpy as np
import pytest

from hand_written import TWINS
from live_cases import randomise
from weightport import RefusedError, convert

torch = pytest.importorskip("torch")
keras = pytest.importorskip("keras")

twins_of = pytest.mark.parametrize("name", TWINS)


def fill(module, seed):
    """Random values everywhere, variances positive."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for key, tensor in module.state_dict().items():
            if tensor.is_floating_point():
                tensor.copy_(torch.rand(tensor.shape, generator=generator) * 0.8 - (0.0 if "var" in key else 0.4))
    return module.eval()


def run_torch(module, inputs):
    with torch.no_grad():
        return module.eval()(*map(torch.from_numpy, inputs)).numpy()


def run_keras(model, inputs):
    return np.asarray(model(inputs if len(inputs) > 1 else inputs[0], training=False))


def assert_equal(ours, theirs):
    assert np.asarray(theirs).std() > 1e-3
    np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-5)


def keras_model(twins, seed):
    keras.utils.clear_session()
    model = twins.keras()
    randomise(model.weights, seed)
    return model


@twins_of
def test_files_there_and_back(name, tmp_path):
    twins = TWINS[name]
    model, module, inputs = keras_model(twins, 1), twins.torch(), twins.inputs()
    model.save(tmp_path / "m.keras")
    torch.save(module.state_dict(), tmp_path / "twin.pt")
    convert(tmp_path / "m.keras", tmp_path / "m.pt", into=tmp_path / "twin.pt")
    module.load_state_dict(torch.load(tmp_path / "m.pt", weights_only=True))
    assert_equal(run_torch(module, inputs), run_keras(model, inputs))

    keras_model(twins, 2).save(tmp_path / "untrained.keras")
    convert(tmp_path / "m.pt", tmp_path / "back.keras", into=tmp_path / "untrained.keras")
    back = keras.saving.load_model(tmp_path / "back.keras")
    assert_equal(run_keras(back, inputs), run_keras(model, inputs))


@twins_of
def test_live_models_both_ways(name):
    twins = TWINS[name]
    model, module, inputs = keras_model(twins, 3), twins.torch(), twins.inputs()
    convert(model, module)
    assert_equal(run_torch(module, inputs), run_keras(model, inputs))
    convert(fill(module, 4), model)
    assert_equal(run_keras(model, inputs), run_torch(module, inputs))


@twins_of
def test_a_wrong_mapping_is_refused_and_nothing_is_changed(name):
    twins = TWINS[name]
    model, module = keras_model(twins, 5), fill(twins.torch(), 6)
    before = {key: tensor.clone() for key, tensor in module.state_dict().items()}
    mapping, message = twins.wrong
    with pytest.raises(RefusedError) as caught:
        convert(model, module, mapping=mapping)
    assert message in str(caught.value)
    assert all(torch.equal(tensor, before[key]) for key, tensor in module.state_dict().items())


@twins_of
def test_the_proposed_mapping_file_does_the_same_in_either_direction(name, tmp_path):
    from weightport import propose_mapping

    twins = TWINS[name]
    model, module, inputs = keras_model(twins, 7), twins.torch(), twins.inputs()
    proposal = propose_mapping(model, module)
    assert not proposal.unsettled
    (tmp_path / "names.toml").write_text(proposal.to_toml(), encoding="utf-8")
    report = convert(model, module, mapping=tmp_path / "names.toml")
    assert {layer.paired_by for layer in report.layers} == {"mapping file"}
    assert_equal(run_torch(module, inputs), run_keras(model, inputs))
    convert(fill(module, 8), model, mapping=tmp_path / "names.toml")
    assert_equal(run_keras(model, inputs), run_torch(module, inputs))
