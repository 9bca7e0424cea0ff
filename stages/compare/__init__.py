"""Stage ``compare``: gate, figures, selection, and the comparison they add up to."""
