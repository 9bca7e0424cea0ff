"""Arrivals, percentiles, levels and capacity of requests that overlap: no clock, no network."""
