"""Log records as JSON."""

from __future__ import annotations

import json

from hypothesis import given
from hypothesis import strategies as st

from anchor_supervisor.control.protocol import log_bytes, log_line


@given(st.binary() | st.text().map(lambda text: text.encode("utf-8", "surrogatepass")))
def test_any_bytes_survive_json(data: bytes) -> None:
    """What a container said comes out of JSON as it went in, be it text or not."""
    line = json.loads(json.dumps(log_line("web.1", "t", "stdout", data, partial=False)))
    assert log_bytes(line) == data
