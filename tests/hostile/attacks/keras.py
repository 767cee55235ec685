"""Keras configs that make a loader run code, read files or fetch them: here they are a description, and no more.

Most of these files have honest weights as well, and are read: nothing in the config is ever instantiated.
"""

from __future__ import annotations

import base64
import json
import marshal
from functools import partial
from pathlib import Path
from typing import Any

from . import Place, attack
from . import _honest as honest


def bytecode(command: str) -> str:
    """A function's code as Keras keeps that of a Lambda layer."""
    code = compile(f"lambda x: __import__('os').system({command!r})", "<evil>", "eval").co_consts[0]
    return base64.b64encode(marshal.dumps(code)).decode()


def lambda_layer(place: Place) -> dict[str, Any]:
    """CVE-2024-3660: a Lambda whose function is marshalled code."""
    function = {
        "class_name": "__lambda__",
        "config": {"code": bytecode(place.command), "defaults": None, "closure": None},
    }
    return {
        "module": "keras.layers",
        "class_name": "Lambda",
        "config": {"name": "lambda", "function": function, "arguments": {}},
        "registered_name": None,
    }


def layer(module: str, class_name: str, /, **config: Any) -> dict[str, Any]:
    """A layer that the config says to import and to call."""
    return {"module": module, "class_name": class_name, "config": config, "registered_name": class_name}


def lambda_of_keras_2(place: Place) -> dict[str, Any]:
    config = {"name": "lambda", "function": [bytecode(place.command), None, None], "function_type": "lambda"}
    return {"class_name": "Lambda", "config": config}


CONFIGS: dict[str, Any] = {
    "a Lambda of marshalled code": lambda_layer,
    "a Lambda as Keras 2 wrote it": lambda_of_keras_2,
    "a class that is any callable": lambda place: layer("os", "system", command=place.command),
    "a class that is eval": lambda place: layer("builtins", "eval", source=f"__import__('os').system({place.command!r})"),
    "a class of subprocess": lambda place: layer("subprocess", "Popen", args=place.command, shell=True),
    "a gadget that downloads": lambda place: layer(
        "keras.utils", "get_file", fname="evil", origin="http://127.0.0.1:9/evil", extract=True
    ),
    "a gadget that allows the unsafe": lambda place: layer("keras.config", "enable_unsafe_deserialization"),
    "a wrapped PyTorch module": lambda place: layer(
        "keras.layers", "TorchModuleWrapper", module=base64.b64encode(b"\x80\x02cposix\nsystem\n").decode(), name="torch"
    ),
    "a vocabulary in another file": lambda place: layer(
        "keras.layers", "StringLookup", name="lookup", vocabulary=str(place.secret)
    ),
    "a vocabulary on a server": lambda place: layer(
        "keras.layers", "IntegerLookup", name="lookup", vocabulary="http://127.0.0.1:9/vocabulary"
    ),
    "a saved model elsewhere": lambda place: layer(
        "keras.layers", "TFSMLayer", name="tfsm", filepath=str(place.secret.parent), call_endpoint="serve"
    ),
    "a registered name that imports": lambda place: {
        **honest.dense(name="evil"), "module": None, "registered_name": "os>system", "class_name": "os.system"
    },
    "an initializer that is a Lambda": lambda place: honest.dense(name="other", kernel_initializer=lambda_layer(place)),
}  # fmt: skip


def _config(make: Any, place: Place) -> Path:
    config = honest.sequential(make(place), honest.dense())
    return honest.keras(place.folder / "model.keras", config)


def _legacy_config(make: Any, place: Place) -> Path:
    config = honest.sequential(make(place), honest.dense())
    return honest.hdf5(place.folder / "model.h5", lambda file: honest.layers_tree(file, config))


for _name, _make in CONFIGS.items():
    if "initializer" not in _name:
        attack("", f"{_name} (.keras)")(partial(_config, _make))
        attack("", f"{_name} (.h5)")(partial(_legacy_config, _make))


@attack("")
def activation_that_is_a_lambda(place: Place) -> Path:
    return honest.keras(place.folder / "model.keras", honest.sequential(honest.dense(activation=lambda_layer(place))))


@attack("")
def asset_that_is_a_script(place: Place) -> Path:
    members = {**honest.keras_members(), "assets/layers/lookup/vocabulary.txt": place.command.encode()}
    return honest.zipped(place.folder / "model.keras", members)


@attack("no plain relative path")
def asset_that_climbs(place: Place) -> Path:
    members = {**honest.keras_members(), "assets/../../outside/canary": b"x"}
    return honest.zipped(place.folder / "model.keras", members)


@attack("only HDF5 weights are read")
def weights_in_a_pickled_array(place: Place) -> Path:
    members = honest.keras_members()
    members["model.weights.npz"] = members.pop("model.weights.h5")
    return honest.zipped(place.folder / "model.keras", members)


# JSON that costs more than it weighs


def _json(text: bytes, member: str, place: Place) -> Path:
    return honest.zipped(place.folder / "model.keras", {**honest.keras_members(), member: text})


_MODEL = json.dumps(honest.sequential())
JSONS = {
    "lists a million deep": (b"[" * 1_000_000, "not readable as JSON"),
    "objects ten thousand deep": (b'{"a":' * 10_000 + b"1" + b"}" * 10_000, "not readable as JSON"),
    "an integer of a million digits": (b'{"a": ' + b"9" * 1_000_000 + b"}", "not readable as JSON"),
    "half a character": (b'{"a": "\\ud800"}', "not readable as JSON"),
    "no text": (b"\xff\xfe\x00", "not readable as JSON"),
    "a list": (b"[1]", "a JSON object was expected"),
    "nothing": (b"", "not readable as JSON"),
}
for _name, (_text, _words) in JSONS.items():
    for _member in ("config.json", "metadata.json"):
        attack(_words, f"{_member} of {_name}")(partial(_json, _text, _member))


def _nested(levels: int) -> dict[str, Any]:
    """Models inside models."""
    inner = honest.dense()
    for _ in range(levels):
        inner = {"module": "keras", "class_name": "Sequential", "config": {"name": "m", "layers": [inner]}}
    return inner


@attack("deep|no group|not of one model|nested|levels")
def models_nested_without_end(place: Place) -> Path:
    return honest.keras(place.folder / "model.keras", _nested(300))


@attack("no group|not of one model|layers|weights|deep")
def wrappers_nested_without_end(place: Place) -> Path:
    inner = honest.dense()
    for _ in range(300):
        inner = {"module": "keras.layers", "class_name": "TimeDistributed", "config": {"name": "t", "layer": inner}}
    return honest.keras(place.folder / "model.keras", honest.sequential(inner))


@attack("spread over several files: refused")
def index_whose_shards_climb(place: Place) -> Path:
    index = {"metadata": {"total_size": 1.0}, "weight_map": {"/layers/dense/vars": ["../outside/secret.weights.h5"]}}
    path = place.folder / "model.weights.json"
    path.write_text(json.dumps(index))
    return path
