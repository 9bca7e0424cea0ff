"""The machine that measures: its lock, its other work, signals, and its description."""
