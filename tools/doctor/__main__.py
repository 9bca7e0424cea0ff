"""`python -m tools.doctor`: see :mod:`tools.doctor.command`."""

from tools.doctor.command import main

main()
