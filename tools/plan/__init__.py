"""The dry run: what a target would start and send, and how long it would take."""
