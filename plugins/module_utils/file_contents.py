"""The contents of several files as one opaque string.

A parameter that Ansible keeps secret is masked wherever its value occurs in an output. The contents of files are texts
such as ``1``, so that paths and diffs would be masked as well. The packed string occurs nowhere else.
"""

from __future__ import annotations

import base64
import json
import zlib
from collections.abc import Sequence


def packed(contents: Sequence[bytes]) -> str:
    """Return the contents as one string of ASCII."""
    texts = [content.decode("utf-8", "surrogateescape") for content in contents]
    return base64.b64encode(zlib.compress(json.dumps(texts).encode("ascii"))).decode("ascii")


def unpacked(text: str) -> list[bytes]:
    """Return the contents that ``packed`` made a string of."""
    texts = json.loads(zlib.decompress(base64.b64decode(text))) if text else []
    return [content.encode("utf-8", "surrogateescape") for content in texts]
