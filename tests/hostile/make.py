"""Write every malicious file into a folder, to try on other loaders: ``python tests/hostile/make.py FOLDER``.

Do this where a file that runs ``touch`` and reads a neighbour's secret does no harm.
"""

from __future__ import annotations

import sys
from pathlib import Path


def main(folder: Path) -> None:
    """Make each attack in a folder of its own."""
    sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parents[1] / "support")]
    from attacks import Place, all_attacks

    for name, attack in all_attacks().items():
        path = attack.make(Place.made(folder / name.replace("/", "-").replace(" ", "-")))
        print(path, path.stat().st_size, attack.words or "harmless", sep="\t")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
