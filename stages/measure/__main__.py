"""`python -m stages.measure`: see :mod:`stages.measure.command`."""

from stages.measure.command import main

main()
