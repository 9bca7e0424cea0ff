"""Settings for every test."""

from __future__ import annotations

from hypothesis import HealthCheck, settings

# No example database: a test run leaves nothing behind. No deadline: speed is not tested here.
settings.register_profile(
    "project", database=None, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("project")
