"""Stage ``report``: the comparison as a report a person reads, with its figures."""
