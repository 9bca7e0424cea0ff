"""Compare two results: which changes are larger than the noise (``make diff``)."""
