"""What figures show, for those who cannot see them; read where no figure is drawn."""

from __future__ import annotations

BY_WORKLOAD = "Ratio of both backends' items/s for each workload, by its total tokens, both views"
