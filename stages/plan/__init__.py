"""What is measured, in which order, and how its servers are started."""
