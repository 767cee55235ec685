"""Random models as ONNX and as PyTorch source, against Keras: ``random_models.py COUNT [--to onnx|py] [--first SEED]``.

Every model goes through ``onnx.checker`` with full check and strict shape inference, with the opset changing from seed
to seed, and runs at two sizes of its free axes. Prints each model that differs, then a table: how many are equal, how
many are refused and why, the worst relative error, and how often each layer was drawn. Exits with 1 where any differs
by more than 1e-4 of the largest number. Run it with ``KERAS_BACKEND=torch`` for convolutions with the channels first.
"""

from __future__ import annotations

import argparse
import re
import sys
import tempfile
import traceback
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "support"))

import keras

from graph_checks import largest_error
from random_graphs import random_model
from random_graphs.comparison import TARGETS, Refused, compared
from random_graphs.coverage import not_drawn, what_is_in

TOLERANCE = 1e-4


@dataclass
class Table:
    """What came of the models that were converted to one target."""

    to: str
    equal: int = 0
    worst: tuple[float, int] = (0.0, -1)
    refused: dict[str, list[int]] = field(default_factory=dict)
    wrong: list[int] = field(default_factory=list)

    def lines(self) -> list[str]:
        """As text."""
        refusals = [f"  {len(seeds):4d} {reason}: {seeds[:6]}" for reason, seeds in self.refused.items()]
        refused = len({seed for seeds in self.refused.values() for seed in seeds})
        error, seed = self.worst
        return [
            f"{self.to}: {self.equal} equal, worst relative error {error:.1e} (seed {seed}); {len(self.wrong)} wrong "
            f"{self.wrong}; {refused} refused",
            *sorted(refusals, reverse=True),
        ]


def tried(table: Table, model: keras.Model, seed: int) -> None:
    """Convert and compare one model, and note it in the table."""
    with tempfile.TemporaryDirectory() as folder:
        try:
            error = largest_error(compared(model, table.to, seed, Path(folder)))
        except Refused as refusal:
            for reason in refusal.reasons:
                table.refused.setdefault(_general(reason), []).append(seed)
            return
        except Exception:
            print(f"seed {seed} {table.to}: {traceback.format_exc(limit=-2)}", flush=True)
            table.wrong.append(seed)
            return
    if error <= TOLERANCE:
        table.equal += 1
        table.worst = max(table.worst, (error, seed))
    else:
        print(f"seed {seed} {table.to}: relative error {error:.1e}", flush=True)
        table.wrong.append(seed)


def _general(reason: str) -> str:
    """A reason without the layer's name, and without numbers."""
    return re.sub(r"\d+", "N", reason.partition(": ")[2] or reason)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("count", type=int)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--to", choices=TARGETS, action="append")
    given = parser.parse_args()
    tables = [Table(to) for to in given.to or TARGETS]
    drawn: Counter[str] = Counter()
    for seed in range(given.first, given.first + given.count):
        keras.backend.clear_session()
        model = random_model(seed)
        drawn.update(what_is_in(model))
        for table in tables:
            tried(table, model, seed)
    print(f"{given.count} models of Keras {keras.__version__} on {keras.backend.backend()}; layers in them:")
    print("  " + ", ".join(f"{name} {count}" for name, count in sorted(drawn.items())))
    print(f"  not drawn: {', '.join(not_drawn(drawn))}")
    for table in tables:
        print("\n".join(table.lines()))
    return 1 if any(table.wrong for table in tables) else 0


if __name__ == "__main__":
    sys.exit(main())
