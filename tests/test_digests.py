"""The interpreter's own SHA-256 is everybody's."""

from __future__ import annotations

import hashlib
import subprocess
import sys

from hypothesis import given
from hypothesis import strategies as st

from anchor_supervisor.digests import sha256


@given(st.binary(max_size=300))
def test_it_is_sha256(data: bytes) -> None:
    """At once or in pieces, as hashlib has it."""
    assert sha256(data).hexdigest() == hashlib.sha256(data).hexdigest()
    piecewise = sha256()
    piecewise.update(data[:100])
    piecewise.update(data[100:])
    assert piecewise.digest() == hashlib.sha256(data).digest()


def test_it_does_not_load_openssl() -> None:
    """That is what it is for; an interpreter without one of its own may have to."""
    script = (
        "import sys; from anchor_supervisor.digests import sha256;"
        "assert sha256(b'').hexdigest().startswith('e3b0c442');"
        "assert '_hashlib' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", script], check=True)
