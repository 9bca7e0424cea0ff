"""Readiness: what is ready to be measured on this machine, what is blocked, and why."""
