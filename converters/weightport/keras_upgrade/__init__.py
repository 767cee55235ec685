"""Older Keras models become Keras 3 models: the config is brought up to date as data, the weights go through the plan.

No class is instantiated and no Keras is needed. What Keras 3 cannot say is refused by the layer's name.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

from ..checkpoint import Checkpoint, Contents
from ..errors import RefusedError
from ..frameworks._keras_activations import HARD_SIGMOID
from ..frameworks._keras_config import entry_of, major_version
from ._masks import lost_masks
from ._models import upgraded_model
from ._tree import Tree, tree_of

ALLOWED = (HARD_SIGMOID,)
"""Settings that Keras 3's layouts lack and that the upgraded config says in other words."""

_OLD, _KERAS_1 = 3, 1


@dataclass(frozen=True)
class Upgrade:
    """A Keras 3 model that is to be made anew: ``contents`` describe the file that is to be, without its weights."""

    contents: Contents
    tree: Tree

    def tensor_name(self, layer: str, tensor: str) -> str:
        """The name in the new file of a layout's tensor of a layer."""
        return self.tree.tensors[layer, tensor]

    def layout(self, layer: str) -> str:
        """The layout in which the new file has a layer, empty where it is the usual one of its kind."""
        return self.tree.layouts.get(layer, "")


def upgraded_config(contents: Contents, own: Collection[str] = ()) -> Mapping[str, Any]:
    """The config of the contents' model as Keras 3 writes it: the same object, where Keras 3 wrote it. ``own`` are
    classes of the user's that stay as they are.

    Raises RefusedError, listing every reason, for a model that Keras 3 cannot have."""
    config: Mapping[str, Any] = contents.description["config"]
    major = _major(contents)
    if major >= _OLD and contents.format == "keras":
        return config
    try:
        return upgraded_model(config, major, own)
    except RefusedError as error:
        raise RefusedError(f"{contents.origin}: Keras 3 cannot have this model", error.problems) from error


def _major(contents: Contents) -> int:
    return major_version(contents.description.get("keras_version"), default=_KERAS_1)


def upgrade(source: Checkpoint, target_format: str) -> Upgrade | None:
    """The Keras 3 model that an older Keras file becomes; None where the source is no such file or the target is not to
    hold a whole model.

    Raises RefusedError, listing every reason, for a model that Keras 3 cannot have."""
    contents = source.contents
    config = contents.description.get("config")
    if contents.framework != "keras" or contents.format == "live" or target_format != "keras" or not config:
        return None
    new = upgraded_config(contents)
    if new is config:
        return None
    lost = lost_masks(dict(new)) if _major(contents) < _OLD else []
    if lost:
        raise RefusedError(f"{contents.origin}: Keras 3 cannot have this model", lost)
    root = entry_of(new)
    assert root is not None
    tree = tree_of(root, source.layers)
    groups = {path: {"name": name, "weights": []} for path, name in tree.groups.items()}
    description = {"keras_version": None, "config": json.loads(json.dumps(new)), "dialect": "objects", "groups": groups}
    return Upgrade(Contents(contents.origin, "config", "keras", {}, description=description), tree)
