"""SHA-256 for a few bytes at a time: hashlib loads OpenSSL, which takes longer than they do."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

__all__ = ["sha256"]

if TYPE_CHECKING:
    from hashlib import sha256
else:

    def _sha256() -> object:
        """Find the interpreter's own (`random` of the standard library looks for one as well)."""
        for name in ("_sha2", "_sha256"):  # from Python 3.12 on; before
            try:
                return importlib.import_module(name).sha256
            except ImportError:  # an interpreter made without it
                continue
        return importlib.import_module("hashlib").sha256

    sha256 = _sha256()
