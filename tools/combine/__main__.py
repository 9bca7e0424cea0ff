"""`python -m tools.combine`: see :mod:`tools.combine.command`."""

from tools.combine.command import main

main()
