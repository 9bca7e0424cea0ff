"""What a measurement stores: the journal while it runs, the result at its end."""
