"""Stage `checkpoint`: the model under test, built from a seed, from a package, or pinned."""
