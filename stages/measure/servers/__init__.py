"""The servers under test, launched here or reached at a URL."""
