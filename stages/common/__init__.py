"""Helpers for every folder: errors, files, shell, git, numbers."""
