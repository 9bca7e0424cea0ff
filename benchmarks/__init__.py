"""Speed is measured here and nowhere else: no test asserts a time."""
