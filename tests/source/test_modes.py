"""What people do with a module: export and compile it, train it, run it in another precision and on one sample."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import weightport as wp
from graph_checks import name_of, run_keras, values_for
from source_checks import assert_clean, loaded
from source_models import image_classifier, matcher, translator

MODELS = {"images": image_classifier, "sequences": translator, "attention": matcher}


class Emitted:
    """A model's source, and inputs and outputs of the model in Keras."""

    def __init__(self, make, folder):
        self.model, self.path = make(), folder / "model.py"
        self.model.save(folder / "model.keras")
        wp.convert(folder / "model.keras", self.path)
        self.load = loaded(self.path).load

    def inputs(self, batch=3):
        values = values_for(self.model, batch=batch, free=4)
        return [torch.from_numpy(values[name_of(tensor)]) for tensor in self.model.inputs]

    def assert_expected(self, outputs, inputs, tolerance=1e-5):
        expected = run_keras(
            self.model, {name_of(t): x.numpy() for t, x in zip(self.model.inputs, inputs, strict=True)}
        )
        found = outputs if isinstance(outputs, tuple) else (outputs,)
        for ours, theirs in zip(found, expected, strict=True):
            np.testing.assert_allclose(ours.detach().double().numpy(), theirs, rtol=0, atol=tolerance)


@pytest.fixture(scope="module", params=MODELS)
def emitted(request, tmp_path_factory):
    return Emitted(MODELS[request.param], tmp_path_factory.mktemp(request.param))


def test_the_file_is_clean_and_computes_the_same(emitted):
    assert_clean(emitted.path)
    emitted.assert_expected(emitted.load()(*emitted.inputs()), emitted.inputs())


def test_one_sample_is_computed_as_many_are(emitted):
    inputs = emitted.inputs(batch=1)
    emitted.assert_expected(emitted.load()(*inputs), inputs)


def test_the_exported_program_takes_any_batch(emitted):
    inputs, batch = emitted.inputs(), torch.export.Dim("batch")
    shapes = tuple({0: batch} for _ in inputs)
    program = torch.export.export(emitted.load(), tuple(inputs), dynamic_shapes=shapes, strict=False)
    others = emitted.inputs(batch=5)
    emitted.assert_expected(program.module()(*others), others)


def test_the_compiled_module_computes_the_same(emitted):
    inputs = emitted.inputs()
    emitted.assert_expected(torch.compile(emitted.load(), backend="aot_eager")(*inputs), inputs)
    torch._dynamo.reset()


@pytest.mark.parametrize(
    ("dtype", "tolerance"), [(torch.float64, 1e-5), (torch.float16, 1e-2), (torch.bfloat16, 5e-2)], ids=str
)
def test_the_module_runs_in_another_precision(emitted, dtype, tolerance):
    inputs = emitted.inputs()
    given = [x.to(dtype) if x.is_floating_point() else x for x in inputs]
    outputs = emitted.load().to(dtype)(*given)
    assert {y.dtype for y in (outputs if isinstance(outputs, tuple) else (outputs,))} == {dtype}
    emitted.assert_expected(outputs, inputs, tolerance)


def test_it_is_given_ready_to_run_and_every_parameter_of_it_can_be_trained(emitted):
    module = emitted.load()
    assert not module.training
    outputs = module.train()(*emitted.inputs())
    sum(y.square().sum() for y in (outputs if isinstance(outputs, tuple) else (outputs,))).backward()
    assert [name for name, one in module.named_parameters() if one.grad is None or not one.grad.any()] == []


def test_the_state_of_one_module_loads_into_another(emitted, tmp_path):
    module = emitted.load()
    torch.save(module.state_dict(), tmp_path / "state.pt")
    another = type(module)()
    another.load_state_dict(torch.load(tmp_path / "state.pt"))
    emitted.assert_expected(another.eval()(*emitted.inputs()), emitted.inputs())
