"""`python -m stages.checkpoint`: see :mod:`stages.checkpoint.command`."""

from stages.checkpoint.command import main

main()
