"""The machine that measures: its lock, its other work, its signals, its name."""
