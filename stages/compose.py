"""Write ``params.yaml`` as the composition of the defaults in ``conf/``.

`dvc exp run` composes by itself; this keeps the committed file equal to it.
"""

from __future__ import annotations

from pathlib import Path

from dvc.utils.hydra import compose_and_dump

from stages.contract import PARAMS


def main() -> None:
    """Compose ``conf/`` into ``params.yaml``."""
    compose_and_dump(PARAMS, str(Path("conf").absolute()), None, "config", None, [])


if __name__ == "__main__":
    main()
