"""Stage ``report``: the comparison as Markdown and HTML pages with figures."""

from stages.common.shell import keep_from_matplotlib

# matplotlib reads these variables when it is imported, so they are removed first.
keep_from_matplotlib()
