"""Sends requests that overlap."""
