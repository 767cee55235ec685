"""A config that says code where a number should be: no such text becomes source, or runs."""

from __future__ import annotations

import ast
import json
import zipfile
from collections.abc import Iterator
from typing import Any

import keras
import pytest
from keras import layers

import weightport as wp
from weightport.graph import torch_emitter

CODE = "__import__('pathlib').Path('owned').touch()"
TEXTS = {"expression": CODE, "end-of-a-docstring-or-a-comment": f'"""\n{CODE}\n"""'}
_WITHOUT_EFFECT = {"build_config", "inbound_nodes", "compile_config", "registered_name", "trainable", "seed"}


@pytest.fixture(scope="module")
def archive(tmp_path_factory) -> dict[str, bytes]:
    """The members of a Keras file whose layers have settings of every sort."""
    inputs = keras.Input((6, 4), name="inputs")
    x = layers.Conv1D(4, 3, name="conv")(layers.LayerNormalization(name="norm")(inputs))
    x = layers.LSTM(3, return_sequences=True)(layers.ReLU(max_value=6.0, negative_slope=0.1)(x))
    x = layers.Reshape((2, 6))(layers.Rescaling(0.5)(x))
    x = layers.RepeatVector(2)(layers.Flatten()(x))
    outputs = layers.Activation("elu")(layers.MultiHeadAttention(2, 3)(x, x))
    path = tmp_path_factory.mktemp("hostile") / "model.keras"
    keras.Model(inputs, outputs, name="hostile").save(path)
    with zipfile.ZipFile(path) as file:
        return {name: file.read(name) for name in file.namelist()}


def places(said: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Where a config says something that holds nothing else, and that a trained model may depend on."""
    items = said.items() if isinstance(said, dict) else enumerate(said) if isinstance(said, list) else ()
    for key, value in items:
        if key in _WITHOUT_EFFECT or str(key).endswith(("initializer", "regularizer", "constraint")):
            continue
        if isinstance(value, dict | list):
            yield from places(value, (*path, key))
        else:
            yield (*path, key)


def attacked(archive, text, folder) -> Iterator[tuple[Any, ...]]:
    """The places at which the text gets into the source as code."""
    config = json.loads(archive["config.json"])
    for place in places(config):
        changed = json.loads(archive["config.json"])
        holder = changed
        for key in place[:-1]:
            holder = holder[key]
        holder[place[-1]] = text
        with zipfile.ZipFile(folder / "model.keras", "w") as file:
            for name, content in archive.items():
                file.writestr(name, json.dumps(changed) if name == "config.json" else content)
        try:
            wp.convert(folder / "model.keras", folder / "model.py", overwrite=True)
        except wp.WeightportError:
            continue
        if not is_harmless((folder / "model.py").read_text()):
            yield place


def is_harmless(source: str) -> bool:
    """Whether a file is Python, and the text is at most in its strings and comments."""
    try:
        tree = ast.parse(source)
    except SyntaxError:
        return False
    return not any(isinstance(node, ast.Name) and node.id == "__import__" for node in ast.walk(tree))


@pytest.mark.parametrize("text", TEXTS)
def test_no_text_of_a_config_becomes_code(archive, text, tmp_path):
    assert list(attacked(archive, TEXTS[text], tmp_path)) == []


def test_the_attack_would_succeed_if_texts_were_not_looked_at(archive, tmp_path, monkeypatch):
    monkeypatch.setattr(torch_emitter, "refuse_code", lambda graph: None)
    assert next(attacked(archive, TEXTS["expression"], tmp_path), None)
