"""What goes wrong on the way to a host, in our words, and whether trying again may help."""

from __future__ import annotations

import ssl
from http.client import HTTPException
from typing import Final

from urllib3 import exceptions as faults

from anchor_supervisor.errors import ImageError, NetworkError

_DEEPEST: Final = 10  # exceptions within exceptions


class ConnectionFault(NetworkError):  # noqa: N818 - whose fault it is is all it says
    """The connection failed, not the request; `again` says whether another try may help.

    `after` is in how many seconds the server wants to be asked again.
    """

    def __init__(
        self,
        message: str,
        *,
        again: bool = True,
        after: float | None = None,
        hint: str | None = None,
    ) -> None:
        """Keep whether and when trying again makes sense."""
        super().__init__(message, hint=hint)
        self.again = again
        self.after = after


def about(words: str, error: ImageError | NetworkError) -> ImageError | NetworkError:
    """Say what an error is about, on one line: parts of it are a registry's own words."""
    kind = ImageError if isinstance(error, ImageError) else NetworkError
    hint = None if error.hint is None else " ".join(error.hint.splitlines())
    return kind(f"{words}: {' '.join(error.message.splitlines())}", hint=hint)


def explained(host: str, error: BaseException, *, reached: bool) -> ConnectionFault:
    """Find the words. What has been reached once is worth another try; a wrong name is not."""
    if isinstance(error, faults.ProxyError):
        inner = explained(host, error.original_error, reached=reached)
        message = f"the proxy on the way to `{host}` failed: {inner.message}"
        return ConnectionFault(message, again=inner.again)
    if isinstance(error, faults.SSLError | ssl.SSLError):
        return _tls_fault(host, error)
    if isinstance(error, faults.NameResolutionError):
        message = f"`{host}` is not known: {_reason(error)}"
        return ConnectionFault(message, again=reached)
    if isinstance(error, faults.NewConnectionError):
        return ConnectionFault(f"`{host}` cannot be reached: {_reason(error)}", again=reached)
    if isinstance(error, faults.ConnectTimeoutError):
        return ConnectionFault(f"`{host}` cannot be reached: no answer")
    if isinstance(error, faults.ReadTimeoutError | TimeoutError):
        return ConnectionFault(f"`{host}` has stopped answering")
    if isinstance(error, faults.ProtocolError | faults.IncompleteRead | HTTPException | OSError):
        return ConnectionFault(f"`{host}` broke the connection: {_reason(error)}")
    return ConnectionFault(f"`{host}`: {error}", again=False)


def _tls_fault(host: str, error: BaseException) -> ConnectionFault:
    text = str(error)
    if "CERTIFICATE_VERIFY_FAILED" in text:
        why = getattr(_root(error), "verify_message", None) or "it cannot be verified"
        message = f"`{host}` has a certificate that is not trusted: {why}"
        hint = "add its CA to the system's, or SSL_CERT_FILE; --insecure goes without"
        return ConnectionFault(message, again=False, hint=hint)
    if "EOF" in text:
        return ConnectionFault(f"`{host}` broke the connection")
    message = f"`{host}` does not speak TLS as it should: {_reason(error)}"
    return ConnectionFault(message, again=False, hint="--insecure allows plain HTTP")


def _root(error: BaseException) -> BaseException:
    """Find what the wrappers wrap."""
    for _ in range(_DEEPEST):
        inner = error.__cause__ or next(
            (each for each in reversed(error.args) if isinstance(each, BaseException)), None
        )
        if inner is None:
            break
        error = inner
    return error


def _reason(error: BaseException) -> str:
    root = _root(error)
    return (getattr(root, "strerror", None) or str(root) or type(root).__name__).strip(". ")
