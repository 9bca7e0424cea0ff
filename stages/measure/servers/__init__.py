"""The servers under test, launched here or met at a URL."""
