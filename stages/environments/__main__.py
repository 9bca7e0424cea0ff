"""`python -m stages.environments`: see :mod:`stages.environments.command`."""

from stages.environments.command import main

main()
