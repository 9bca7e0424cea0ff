"""Two machines, one result: measuring one half, and merging two of them."""
