"""What figures show, for those who cannot see them; read where no figure is drawn."""

from __future__ import annotations

BY_WORKLOAD = "Ratio of items per second over the total tokens of each workload, both views"
