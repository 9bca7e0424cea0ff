"""Reads the head of the usual answer in one match: status 200, one length, nothing special.

Both servers send this head with every score. This match takes about 2 microseconds; h11 takes
about 50, and more to be set up. A pass has up to 500 answers. Every other head is left to h11: the
match accepts only what h11 reads the same way, so no fault of an answer is judged here.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

_TOKEN = rb"[!#$%&'*+.^_`|~0-9a-z-]+"
_VALUE = rb"[\t -~]*"

# Fields that change how the body is read or whether the connection lives on. "keep-alive" is what
# HTTP/1.1 does anyway; proxies send it.
_SPECIAL = (
    rb"content-length:|content-encoding:|transfer-encoding:|"
    rb"connection:(?![\t ]*keep-alive[\t ]*\r\n)"
)
# `*+` gives nothing back, so the time of a match grows with the length of the head only.
_OTHERS = rb"(?:(?!" + _SPECIAL + rb")" + _TOKEN + rb":" + _VALUE + rb"\r\n)*+"
_USUAL_HEAD = re.compile(
    rb"(?-i:HTTP/1\.1) 200 " + _VALUE + rb"\r\n"
    # More digits than this are no length of an answer.
    + _OTHERS + rb"content-length:[\t ]*([0-9]{1,18})[\t ]*\r\n" + _OTHERS + rb"\r\n",
    re.IGNORECASE,
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class UsualHead:
    """The head of an answer with status 200 on a connection that stays open.

    Attributes:
        body_at: where the body begins, in bytes.
        length: of the body, in bytes, as announced.
    """

    body_at: int
    length: int


def usual_head(data: bytes) -> UsualHead | None:
    """The head that ``data`` begins with; ``None`` if it is not whole or not the usual one."""
    found = _USUAL_HEAD.match(data)
    return None if found is None else UsualHead(found.end(), int(found[1]))
