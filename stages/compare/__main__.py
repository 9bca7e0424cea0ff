"""`python -m stages.compare`: see :mod:`stages.compare.command`."""

from stages.compare.command import main

main()
