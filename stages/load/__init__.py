"""Requests that overlap: when they arrive, and what sends them."""
