"""`python -m stages.report`: see :mod:`stages.report.command`."""

from stages.report.command import main

main()
