"""`python -m stages.oracle`: see :mod:`stages.oracle.command`."""

from stages.oracle.command import main

main()
