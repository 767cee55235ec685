"""The two ends of a conversion: what is read, what is written, and which of them says how the target is made."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from .checkpoint import Checkpoint, Output
from .errors import RefusedError, UsageError
from .formats import Format, format_of_suffix
from .frameworks import Framework, framework_named, framework_of_model, named_frameworks
from .keras_upgrade import Upgrade, upgrade
from .opening import STATED, PathLike, open_checkpoint
from .shards import byte_size, sharded_format
from .staging import refuse_existing, staged


@dataclass(frozen=True)
class Job:
    """The two ends of a conversion. ``template`` has the target's structure; without one it is made anew, as
    ``upgraded`` says where the source is a model of an older version of the framework."""

    source: Checkpoint
    target: Any
    framework: Framework
    format: Format | None
    template: Checkpoint | None
    identity: bool
    upgraded: Upgrade | None = None

    @classmethod
    def prepare(
        cls,
        source: Any,
        target: Any,
        into: Any,
        from_framework: str | None,
        to_framework: str | None,
        architecture: PathLike | None,
        *,
        overwrite: bool,
        dry_run: bool,
    ) -> Job:
        """Open both ends. Raises RefusedError where nothing says how the target is made, UsageError where the call
        makes no sense."""
        if not isinstance(target, str | os.PathLike):
            if into is not None:
                raise UsageError("a live model is its own template; leave out 'into'")
            checkpoint = open_checkpoint(source, from_framework, architecture)
            return cls(checkpoint, target, framework_of_model(target), None, open_checkpoint(target), identity=False)
        path = Path(target)
        file_format = format_of_suffix(path)
        if not dry_run:
            refuse_existing(path, overwrite=overwrite)
        checkpoint = open_checkpoint(source, from_framework, architecture)
        template = open_checkpoint(into, to_framework) if into is not None else None
        framework = _framework_of_target(path, file_format, to_framework, template)
        upgraded = upgrade(checkpoint, file_format.NAME) if template is None else None
        identity = template is None and checkpoint.framework == framework.NAME and not upgraded
        if template is not None and template.framework != framework.NAME:
            raise UsageError(
                f"{path.name} is a {framework.NAME} file and the template {template.contents.origin} is of "
                f"{template.framework}; name a target with the template's suffix"
            )
        job = cls(checkpoint, path, framework, file_format, template, identity, upgraded)
        is_made = identity or upgraded or framework.NAMES_FROM_SOURCE or job.is_built
        if template is None and not is_made:
            raise RefusedError(
                f"{checkpoint.contents.origin}: {checkpoint.framework} weights do not say how the {framework.NAME} "
                f"model is built; give a {framework.NAME} file that does with --into TEMPLATE"
            )
        return job

    @property
    def is_built(self) -> bool:
        """Whether the target is a whole model that the source's own model tells how to build."""
        if self.format is None or self.template is not None or self.identity:
            return False
        return bool(framework_named(self.source.framework).graph_reader() and self.framework.graph_writer())

    @property
    def target_name(self) -> str:
        """The target as messages call it."""
        return str(self.target) if self.format else f"live {type(self.target).__name__}"

    def shard_bytes(self, size: int | str | None) -> int | None:
        """The size of a shard. Raises UsageError where the target cannot have any."""
        if size is not None:
            sharded_format(self.format, Path(self.target_name))
        return None if size is None else byte_size(size)

    def write(
        self, outputs: Sequence[Output], metadata: Mapping[str, str], shard_bytes: int | None, *, overwrite: bool
    ) -> None:
        """Write the target's file, or load the tensors into the live target."""
        if self.format is None:
            self.framework.write_live(self.target, outputs)
            return
        template = self.source if self.identity else self.template
        contents = template.contents if template and template.contents.format != "live" else None
        contents = self.upgraded.contents if self.upgraded else contents
        if self.framework.NAME in named_frameworks():
            metadata = {**metadata, STATED: self.framework.NAME}
        write = self.format.write
        if shard_bytes is not None:
            write = partial(sharded_format(self.format, self.target).write_shards, shard_bytes=shard_bytes)
        with staged(self.target, overwrite=overwrite) as path:
            write(path, outputs, template=contents, metadata=metadata)


def _framework_of_target(path: Path, file_format: Format, given: str | None, template: Checkpoint | None) -> Framework:
    """Whose layouts the target follows. Raises UsageError where nothing tells."""
    name = given or file_format.FRAMEWORK or (template.framework if template else "")
    if not name:
        raise UsageError(
            f"{path.name}: a .{file_format.NAME} file can follow any framework's layouts; say whose with --to: flax, "
            "mlx, haiku, torch ..."
        )
    return framework_named(name)
