"""What a measurement keeps: the journal while it runs, the result at its end."""
