"""libnftables, in this process, by ctypes: text in, text or NetworkError out. Knows no rules."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Self, final

from anchor_supervisor.errors import HostError, NetworkError

if TYPE_CHECKING:
    import ctypes

LIBRARY: Final = "libnftables.so.1"
_SHOWN_ERRORS = 3


@final
class Nftables:
    """A context of libnftables(3), in the network namespace of the thread that opens it.

    Not to be used by two threads at once. A run is one transaction: all of it, or nothing.
    """

    def __init__(self) -> None:
        """Load the library. Raises HostError where it is missing, NetworkError where it fails."""
        self._library = _load()
        self._context: int | None = self._library.nft_ctx_new(0)
        if not self._context:
            raise NetworkError("cannot open a netfilter socket")
        self._library.nft_ctx_buffer_output(self._context)
        self._library.nft_ctx_buffer_error(self._context)

    def __enter__(self) -> Self:
        """Close at the end of the block."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close."""
        self.close()

    def close(self) -> None:
        """Free the context; closing twice is allowed."""
        if self._context:
            self._library.nft_ctx_free(self._context)
        self._context = None

    def run(self, text: str, words: str) -> str:
        """Run the commands and return their output. NetworkError: ``cannot WORDS: reason``."""
        status = self._library.nft_run_cmd_from_buffer(self._context, text.encode())
        output = self._library.nft_ctx_get_output_buffer(self._context)
        complaint = self._library.nft_ctx_get_error_buffer(self._context)
        if status != 0:
            message = f"cannot {words}: {_reason(complaint)}"
            raise NetworkError(message)
        return str(output.decode(errors="replace"))


def _load() -> ctypes.CDLL:
    import ctypes  # for fleets with a network

    try:
        library = ctypes.CDLL(LIBRARY)
    except OSError as error:
        message = f"`{LIBRARY}` cannot be loaded, which networks and published ports need: {error}"
        raise HostError(message, hint="apt install libnftables1") from None
    library.nft_ctx_new.restype = ctypes.c_void_p
    library.nft_ctx_new.argtypes = [ctypes.c_uint32]
    library.nft_ctx_free.argtypes = [ctypes.c_void_p]
    for buffer in ("output", "error"):
        getattr(library, f"nft_ctx_buffer_{buffer}").argtypes = [ctypes.c_void_p]
        read = getattr(library, f"nft_ctx_get_{buffer}_buffer")
        read.restype = ctypes.c_char_p
        read.argtypes = [ctypes.c_void_p]
    library.nft_run_cmd_from_buffer.argtypes = [ctypes.c_void_p, ctypes.c_char_p]
    return library


def _reason(complaint: bytes) -> str:
    """Return the first complaints, each without the place and the line that it points at."""
    lines = complaint.decode(errors="replace").splitlines()
    reasons = [line.partition("Error: ")[2] for line in lines if "Error: " in line]
    return "; ".join(reasons[:_SHOWN_ERRORS]) or " ".join(lines) or "no reason given"
