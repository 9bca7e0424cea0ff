"""Every table and document between stages, and their readers."""
