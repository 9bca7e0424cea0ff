"""`python -m tools.plan`: see :mod:`tools.plan.command`."""

from tools.plan.command import main

main()
