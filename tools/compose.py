"""`make params`: compose ``params.yaml`` from ``conf/``, as `dvc exp run` does.

Without choices it writes the composition of the defaults, which is the committed file. With choices
it writes another target or contract for `dvc repro`.
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path

import click
from dvc.utils.hydra import compose_and_dump

from stages.common.errors import UserError, one_line, one_line_errors
from stages.common.files import write_whole
from stages.contract import PARAMS


def composed(choices: Sequence[str]) -> bytes:
    """The text of ``params.yaml`` for ``choices``, each as Hydra reads it (``target=cpu``).

    Raises:
        UserError: a choice names something that does not exist, or the groups do not fit.
    """
    from hydra.errors import HydraException
    from omegaconf.errors import OmegaConfBaseException

    with tempfile.TemporaryDirectory() as scratch:
        output = Path(scratch) / PARAMS.name
        try:
            compose_and_dump(
                str(output), str(Path("conf").absolute()), None, "config", None, [*choices]
            )
        except (HydraException, OmegaConfBaseException) as error:
            raise UserError(f"conf/: {one_line(str(error))}") from error
        return output.read_bytes()


@click.command()
@click.argument("choices", nargs=-1)
@one_line_errors
def main(choices: tuple[str, ...]) -> None:
    """Compose ``conf/`` into ``params.yaml``, with CHOICES such as `target=cpu`."""
    write_whole(PARAMS, composed(choices))


if __name__ == "__main__":
    main()
