"""The dry run: what a measurement would start and send, and how long it would take."""
