"""Stage ``report``: the comparison as a report a person reads, with its figures."""

from stages.common.shell import keep_from_matplotlib

# Before any module of the report imports matplotlib, which reads them then.
keep_from_matplotlib()
