"""The only wording of each code and fact of the comparison; pages and tools call it."""
