"""Opening a checkpoint: from a path or a live model to its tensors and layers."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeAlias

from .checkpoint import Checkpoint
from .errors import UsageError
from .formats import format_of_file
from .formats._keras_architecture import with_architecture
from .frameworks import framework_named, framework_of_model, framework_of_names, named_frameworks

STATED = "format"
"""Where a safetensors file's metadata name a framework, as those of mlx-lm and of transformers' Flax models do."""
PathLike: TypeAlias = str | os.PathLike[str]


def open_checkpoint(source: Any, framework: str | None = None, architecture: PathLike | None = None) -> Checkpoint:
    """Open a checkpoint file, or look at a live model.

    The format is told by the file's content. ``framework`` overrides whose layouts its tensors follow (most
    ``.safetensors`` files do not say). ``architecture`` is a file with the model's config, for Keras weights that
    have none (``model.to_json()``). Reads the file's directory only. Raises CheckpointError for a file that is damaged,
    foreign or unsafe, UsageError where there is none and where nothing tells the framework."""
    if isinstance(source, str | os.PathLike):
        path = Path(source)
        contents = format_of_file(path).read(path)
    else:
        contents = framework_of_model(source).read_live(source)
    if architecture is not None:
        contents = with_architecture(contents, Path(architecture))
    stated = contents.metadata.get(STATED, "")
    told = stated if stated in named_frameworks() else contents.framework
    name = framework or told or framework_of_names(tuple(contents.tensors))
    if name is None:
        raise UsageError(
            f"{contents.origin}: a .{contents.format} file does not say whose layouts its tensors follow; name the "
            "framework with --from (of a template with --to, in a comparison with --from-a or --from-b): flax, mlx ..."
        )
    contents = replace(contents, framework=framework_named(name).NAME)
    return Checkpoint(contents, framework_named(contents.framework).structure(contents))
