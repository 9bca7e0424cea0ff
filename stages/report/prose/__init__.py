"""Where each code of the comparison is worded, once. Everything that speaks calls this package."""
