"""Log records as JSON, and names as paths."""

from __future__ import annotations

import json
import re
from urllib.parse import unquote

from hypothesis import given
from hypothesis import strategies as st

from anchor_supervisor.control.protocol import container_page, log_bytes, log_line


@given(st.binary() | st.text().map(lambda text: text.encode("utf-8", "surrogatepass")))
def test_any_bytes_survive_json(data: bytes) -> None:
    """What a container said comes out of JSON as it went in, be it text or not."""
    line = json.loads(json.dumps(log_line("web.1", "t", "stdout", data, partial=False)))
    assert log_bytes(line) == data


@given(st.text() | st.from_regex(r"[a-z0-9_.-]+", fullmatch=True))
def test_any_name_is_one_part_of_a_path(name: str) -> None:
    """Whatever a person types for a container comes out of the request as it went in."""
    part = container_page(name, "why").removeprefix("/v1/containers/").removesuffix("/why")
    assert re.fullmatch(r"[A-Za-z0-9%_.~-]*", part)
    assert unquote(part) == name
    assert container_page(name) == f"/v1/containers/{part}"
