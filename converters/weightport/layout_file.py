"""Reading one framework's layout file: every mistake in it is one line that names file, table and key."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

from .checkpoint import Setting
from .errors import LayoutError
from .kinds import Kind, Label, Table, all_kinds, read_toml
from .layouts import ONLY, Layout, Naming, PartLayout, Run, TensorLayout
from .notation import SHARE, Axes, axis_names, parse_axes, whole_axis

VERIFIED = ("recorded", "source")
_FILE_KEYS = ("title", "verified", "source", "channels")
CHANNELS = ("first", "last")
_LAYOUT_KEYS = frozenset(
    {
        *("kind", "tensors", "settings", "lacks", "ties", "equal", "storage", "adds", "negates", "verified", "source"),
        *("spread", "modules"),
    }
)
_NAMES, _NAMES_KEYS = "names", frozenset({"separator", "collection", "skipped"})
_TENSOR_KEYS = frozenset({"when", "dtype", "along", "optional", "collection"})
_PART_KEYS = frozenset({"role", "axes", "memory"})


def load_layouts(path: Path, kinds: Mapping[str, Kind] | None = None) -> Mapping[str, Layout]:
    """Read and validate one framework's file. Raises LayoutError naming file, table and key."""
    return layouts_from(read_toml(path), path.stem, all_kinds() if kinds is None else kinds)


def layouts_from(content: Mapping[str, Any], framework: str, kinds: Mapping[str, Kind]) -> Mapping[str, Layout]:
    """The layouts that a file's content describes. Raises LayoutError naming file, table and key."""
    file = f"{framework}.toml"
    facts = {key: Table(file, content).text(key) for key in _FILE_KEYS if key in content}
    if facts.get("channels", "first") not in CHANNELS:
        raise LayoutError(f"{file} channels: must be {' or '.join(CHANNELS)}, found {facts['channels']!r}")
    naming = _naming(Table(file, content).table(_NAMES, _NAMES_KEYS))
    layouts = {}
    for name, values in content.items():
        if name not in facts and name != _NAMES:
            layout = _layout(framework, name, Table(f"{file} [{name}]", values), kinds, facts, naming)
            layouts[layout.name] = layout
    return MappingProxyType(layouts)


def _naming(table: Table) -> Naming:
    skipped = table.table("skipped")
    texts = {key: table.text(key) for key in ("separator", "collection") if key in table.values}
    return Naming(**texts, skipped=MappingProxyType({name: skipped.text(name) for name in skipped.values}))


def _layout(
    framework: str,
    name: str,
    table: Table,
    kinds: Mapping[str, Kind],
    facts: Mapping[str, str],
    naming: Naming,
) -> Layout:
    kind_name = table.text("kind") if "kind" in table.values else name
    if kind_name not in kinds:
        raise LayoutError(f"{table.where}: no such kind {kind_name!r}; known are {', '.join(kinds)}")
    kind = kinds[kind_name]
    labelled = set(kind.labels) | kind.counted
    Table(table.where, table.values, _LAYOUT_KEYS | labelled)
    given = labelled & set(table.values)
    layout = Layout(
        framework=framework,
        table=name,
        kind=kind,
        orders=MappingProxyType({a: _order(kind, table, a) for a in given if not isinstance(table.values[a], dict)}),
        spellings=MappingProxyType({a: _words(kind, table, a) for a in given if isinstance(table.values[a], dict)}),
        tensors=tuple(_tensors(kind, table.table("tensors"))),
        settings=_allowed_values(table, "settings", frozenset(kind.settings)),
        lacks=_allowed_values(table, "lacks", frozenset(kind.settings)),
        ties=_pairs(table, "ties", frozenset(kind.settings)),
        equal=_equal(kind, table),
        spread=_spread(kind, table),
        storage=_allowed_values(table, "storage", None),
        adds=_adds(kind, table),
        negates=frozenset(_labels(kind, "gate", table, "negates")),
        where=table.where,
        title=facts.get("title", framework),
        verified=_verified(table, facts),
        source=table.text("source") if "source" in table.values else facts.get("source", ""),
        channels=facts.get("channels", ""),
        modules=table.names("modules") if "modules" in table.values else (),
        naming=naming,
    )
    _check_tensors(layout, table)
    return layout


def _verified(table: Table, facts: Mapping[str, str]) -> str:
    verified = table.text("verified") if "verified" in table.values else facts.get("verified", "source")
    if verified not in VERIFIED:
        raise table.fail("verified", f"must be {' or '.join(VERIFIED)}, found {verified!r}")
    return verified


def _order(kind: Kind, table: Table, axis: str) -> tuple[str, ...]:
    if axis in kind.counted:
        raise table.fail(axis, "is counted and has no order")
    labels = _labels(kind, axis, table, axis)
    missing = [label for label in kind.labels[axis] if label not in labels]
    if missing:
        raise table.fail(axis, f"{missing[0]!r} is missing")
    return labels


def _words(kind: Kind, table: Table, axis: str) -> Mapping[str, str]:
    words = table.table(axis).values
    for label, text in words.items():
        if label not in {*kind.labels.get(axis, ()), ONLY}:
            raise table.fail(axis, f"no label {label!r}; {kind.name} has {', '.join(kind.labels.get(axis, ()))}")
        if not isinstance(text, str):
            raise table.fail(axis, f"the spelling of {label!r} must be a text, found {text!r}")
    texts = [text for label, text in words.items() if label != ONLY]
    if len(set(texts)) != len(texts):
        raise table.fail(axis, "two labels are spelled alike")
    return MappingProxyType(dict(words))


def _labels(kind: Kind, axis: str, table: Table, key: str) -> tuple[str, ...]:
    """The labels of an axis that stand in a list at a key."""
    labels = table.names(key)
    unknown = [label for label in labels if label not in kind.labels.get(axis, ())]
    if unknown:
        raise table.fail(key, f"no label {unknown[0]!r}; {kind.name} has {', '.join(kind.labels.get(axis, ()))}")
    return labels


def _tensors(kind: Kind, table: Table) -> Iterator[TensorLayout]:
    if not table.values:
        raise LayoutError(f"{table.where}: a layout needs at least one tensor")
    for name, value in table.values.items():
        for alternative in value if isinstance(value, list) else [value]:
            yield _tensor(kind, name, Table(f"{table.where} {name!r}", alternative))


def _tensor(kind: Kind, name: str, table: Table) -> TensorLayout:
    labelled = set(kind.labels) | kind.counted
    Table(table.where, table.values, _TENSOR_KEYS | _PART_KEYS | {"parts"} | labelled)
    spelled = [axis for axis in labelled if isinstance(table.values.get(axis), dict)]
    runs, along = _runs(kind, table)
    tensor = TensorLayout(
        name=name,
        runs=runs,
        along=along,
        spellings=MappingProxyType({axis: _words(kind, table, axis) for axis in spelled}),
        when=_conditions(table),
        dtype=table.text("dtype") if "dtype" in table.values else None,
        optional=bool(table.values.get("optional", False)),
        collection=table.text("collection") if "collection" in table.values else "",
    )
    for run in runs:
        for part in run.parts:
            _check_axes(kind, part, (*tensor.spelled_axes, *run.each), table)
    return tensor


def _conditions(table: Table) -> Mapping[str, Setting]:
    """The settings under which a tensor is stored as its table says."""
    conditions = table.table("when").values
    for name, value in conditions.items():
        if not isinstance(value, bool | int | float | str):
            raise table.fail("when", f"{name!r} must be one value, found {value!r}")
    return MappingProxyType(dict(conditions))


def _runs(kind: Kind, table: Table) -> tuple[tuple[Run, ...], int]:
    """The runs of a tensor, and the dimension along which they follow one another."""
    if "parts" not in table.values:
        run, along = _run(kind, table, ())
        return (run,), along
    entries = _list_of_tables(table, "parts")
    runs = []
    for entry in entries:
        each = entry.names("each") if "each" in entry.values else ()
        entry.values.pop("each", None)
        inner = _list_of_tables(entry, "parts") if "parts" in entry.values else [entry]
        parts = [part for one in inner for part in _run(kind, one, each)[0].parts]
        runs.append(Run(each, tuple(parts)))
    along = table.values.get("along", 0)
    ranks = {len(part.dimensions) for run in runs for part in run.parts}
    if len(ranks) > 1 or not isinstance(along, int) or not 0 <= along < max(ranks):
        raise table.fail("along", f"parts of {sorted(ranks)} dimensions cannot follow one another along {along!r}")
    return tuple(runs), along


def _list_of_tables(table: Table, key: str) -> list[Table]:
    values = table.values[key]
    if not isinstance(values, list) or not values:
        raise table.fail(key, f"must be a list of tables, found {values!r}")
    return [
        Table(f"{table.where} {key}[{index}]", dict(Table(table.where, v).values)) for index, v in enumerate(values)
    ]


def _run(kind: Kind, table: Table, each: tuple[str, ...]) -> tuple[Run, int]:
    """The parts that one table describes: one, or one for each role of a concatenation."""
    roles, axes = _roles(kind, table), _axes(table)
    if len(axes.parts) != len(roles):
        raise table.fail("axes", f"{len(axes.parts)} parts for {len(roles)} roles")
    labelled = set(kind.labels) | kind.counted
    counted = {axis: _counted_place(table, axis) for axis in kind.counted if axis in table.values}
    fixed: dict[str, Label] = {axis: index for axis, (index, open_end) in counted.items() if not open_end}
    fixed |= {
        axis: _label(kind, table, axis)
        for axis in labelled
        if isinstance(table.values.get(axis), str) and axis not in counted
    }
    partial = {axis: _labels(kind, axis, table, axis) for axis in labelled if isinstance(table.values.get(axis), list)}
    parts = tuple(
        PartLayout(
            role=role,
            axes=table.text("axes"),
            dimensions=dimensions,
            fixed=MappingProxyType(fixed),
            partial=MappingProxyType(partial),
            first=MappingProxyType({axis: index for axis, (index, open_end) in counted.items() if open_end}),
            memory=tuple(table.text("memory").split()) if "memory" in table.values else (),
            turned=axes.turned,
        )
        for role, dimensions in zip(roles, axes.parts, strict=True)
    )
    return Run(each, parts), axes.along


def _axes(table: Table) -> Axes:
    try:
        return parse_axes(table.text("axes"))
    except LayoutError as error:
        raise LayoutError(f"{table.where}: {error}") from error


def _roles(kind: Kind, table: Table) -> tuple[str, ...]:
    value = table.values.get("role")
    roles = (value,) if isinstance(value, str) else table.names("role")
    if not roles:
        raise table.fail("role", "is missing")
    for role in roles:
        if role not in kind.roles:
            raise table.fail("role", f"{kind.name} has no role {role!r}; it has {', '.join(kind.roles)}")
    return tuple(roles)


def _label(kind: Kind, table: Table, axis: str) -> str:
    label = table.text(axis)
    if label not in kind.labels[axis]:
        raise table.fail(axis, f"no label {label!r}; {kind.name} has {', '.join(kind.labels[axis])}")
    return label


def _counted_place(table: Table, axis: str) -> tuple[int, bool]:
    """``2`` is the place 2; ``"1.."`` every place from 1 on."""
    value: Any = table.values[axis]
    text = str(value)
    index, open_end = text.removesuffix(".."), text.endswith("..")
    if isinstance(value, bool) or not index.isdecimal():
        raise table.fail(axis, f"must be a number, or a first one as in '1..', found {value!r}")
    return int(index), open_end


def _check_axes(kind: Kind, part: PartLayout, outside: Sequence[str], table: Table) -> None:
    """Every axis belongs to the part's role, once; every sized axis and every needed place of the role is there."""
    axes = kind.roles[part.role].axes
    inside = tuple(dict.fromkeys(map(whole_axis, axis_names(part.dimensions))))
    given = [*inside, *part.fixed, *outside]
    spread = {whole_axis(name) for name in axis_names(part.dimensions) if SHARE in name}
    if any(kind.is_labelled(axis) for axis in spread):
        raise table.fail("axes", f"{min(spread)!r} has labels and cannot be spread over several dimensions")
    for axis in given:
        if axis not in axes:
            raise table.fail("axes", f"{part.role} has no axis {axis!r}; it has {', '.join(axes)}")
        if given.count(axis) > 1:
            raise table.fail("axes", f"{axis!r} is given twice")
    sized = [axis for axis in axes if not kind.is_labelled(axis) and axis not in (*inside, *kind.broadcast)]
    if sized:
        raise table.fail("axes", f"{part.role} needs the axis {sized[0]!r}")
    for axis in kind.labelled_axes(part.role):
        if axis not in given and not _may_be_absent(kind, part.role, axis):
            raise table.fail("axes", f"{part.role} needs the axis {axis!r}: inside the tensor, in its name or fixed")
    labelled = [axis for axis in part.turned if kind.is_labelled(axis)]
    if labelled:
        raise table.fail("axes", f"{labelled[0]!r} has labels, whose order is given, and cannot be turned round")
    own = [axis for axis in inside if not kind.is_labelled(axis)]
    if part.memory and sorted(part.memory) != sorted(own):
        raise table.fail("memory", f"must have the axes {', '.join(own)}, found {' '.join(part.memory)!r}")


def _may_be_absent(kind: Kind, role: str, axis: str) -> bool:
    """An axis that a layout may leave out: one that sums, or one along which a layer may have one place only."""
    return axis == kind.roles[role].sums or axis in kind.counted or axis == "direction"


def _check_tensors(layout: Layout, table: Table) -> None:
    _check_used(layout, table)
    alternatives: dict[str, list[TensorLayout]] = {}
    for tensor in layout.tensors:
        for part in tensor.parts:
            for axis in axis_names(part.dimensions):
                if axis in layout.spellings and axis not in layout.orders and axis not in part.partial:
                    raise table.fail("tensors", f"{axis!r} is inside {tensor.name!r}, but only its spelling is given")
        alternatives.setdefault(tensor.name, []).append(tensor)
        unknown = sorted(set(tensor.when) - set(layout.kind.settings) - set(layout.storage))
        if unknown:
            raise table.fail("tensors", f"{tensor.name!r} depends on {unknown[0]!r}, which is no setting")
    for name, same in alternatives.items():
        conditions = [(*sorted(tensor.when.items()), *_spelled_alike(tensor)) for tensor in same]
        if len(set(conditions)) != len(conditions):
            raise table.fail("tensors", f"{name!r} stands twice under the same condition")


def _check_used(layout: Layout, table: Table) -> None:
    """An order or a spelling that no tensor makes use of is a mistake somewhere else."""
    parts = [part for tensor in layout.tensors for part in tensor.parts]
    inside = {axis for part in parts for axis in axis_names(part.dimensions) if axis not in part.partial}
    spelled = {axis for tensor in layout.tensors for axis in tensor.spelled_axes}
    for axis in layout.orders:
        if axis not in inside:
            raise table.fail(axis, "has an order, but no tensor has this axis inside")
    for axis in layout.spellings:
        if axis not in spelled:
            raise table.fail(axis, "has spellings, but no tensor's name has this axis")


def _spelled_alike(tensor: TensorLayout) -> list[tuple[str, ...]]:
    return [(axis, *sorted(words.values())) for axis, words in sorted(tensor.spellings.items())]


def _allowed_values(table: Table, key: str, known: frozenset[str] | None) -> Mapping[str, tuple[Setting, ...]]:
    values = table.table(key, known).values
    for name, allowed in values.items():
        if not isinstance(allowed, list) or not allowed:
            raise table.fail(key, f"{name!r} must be a list of values, found {allowed!r}")
    return MappingProxyType({name: tuple(allowed) for name, allowed in values.items()})


def _pairs(table: Table, key: str, known: frozenset[str]) -> Mapping[str, str]:
    pairs = table.table(key, known)
    for name in pairs.values:
        if pairs.text(name) not in known:
            raise pairs.fail(name, f"unknown name {pairs.text(name)!r}; known are {', '.join(sorted(known))}")
    return MappingProxyType(dict(pairs.values))


def _equal(kind: Kind, table: Table) -> Mapping[str, tuple[str, ...]]:
    """Sized axes, each with the axes whose product its size is; ``1`` is the product of none."""
    pairs = table.table("equal", frozenset(axis for role in kind.roles.values() for axis in role.axes))
    factors = {axis: tuple(name for name in pairs.text(axis).split() if name != "1") for axis in pairs.values}
    known = {axis for role in kind.roles.values() for axis in role.axes if not kind.is_labelled(axis)}
    for axis, names in factors.items():
        unknown = [name for name in names if name not in known]
        if unknown:
            raise pairs.fail(axis, f"unknown name {unknown[0]!r}; known are {', '.join(sorted(known))}")
    return MappingProxyType(factors)


def _sized_axes(kind: Kind) -> frozenset[str]:
    return frozenset(axis for role in kind.roles.values() for axis in role.axes if not kind.is_labelled(axis))


def _spread(kind: Kind, table: Table) -> Mapping[str, str]:
    """The settings that say how large the first share of an axis is."""
    spread = table.table("spread", _sized_axes(kind))
    for axis in spread.values:
        if spread.text(axis) not in kind.settings:
            raise spread.fail(axis, f"no setting {spread.text(axis)!r}; {kind.name} has {', '.join(kind.settings)}")
    return MappingProxyType(dict(spread.values))


def _adds(kind: Kind, table: Table) -> Mapping[str, Mapping[str, float]]:
    adds = table.table("adds", frozenset(kind.roles))
    for role in adds.values:
        constants = adds.table(role, frozenset(kind.labels.get("gate", ()))).values
        for label, constant in constants.items():
            if isinstance(constant, bool) or not isinstance(constant, int | float):
                raise adds.fail(role, f"{label!r} must be a number, found {constant!r}")
    return MappingProxyType({role: MappingProxyType(dict(values)) for role, values in adds.values.items()})
