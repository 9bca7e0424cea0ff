"""`python -m tools.diff`: see :mod:`tools.diff.command`."""

from tools.diff.command import main

main()
