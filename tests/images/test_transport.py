"""TLS, proxies, and how often connections are made."""

from __future__ import annotations

import socket
import ssl
import subprocess
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path

import pytest

from anchor_supervisor.errors import HostError, NetworkError
from anchor_supervisor.images.faults import ConnectionFault
from anchor_supervisor.images.hang_up import Stopped
from anchor_supervisor.images.transport import Answer, Patience, Transport, is_loopback, retry_after
from fake_registry import Call, FakeRegistry, fake_registry
from registry_kit import IMPATIENT, on


@pytest.fixture
def transport(nobody: Path) -> Iterator[Transport]:
    """A transport that believes in certificates."""
    made = Transport(insecure=False, patience=IMPATIENT)
    yield made
    made.close()


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A certificate of our own for 127.0.0.1, with its key in the same file."""
    path = tmp_path_factory.mktemp("tls") / "both.pem"
    key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    names = ["-subj", "/CN=tests", "-addext", "subjectAltName=IP:127.0.0.1"]
    files = ["-keyout", str(path), "-out", f"{path}.crt", "-days", "2"]
    subprocess.run(
        ["openssl", "req", "-x509", *key, *names, *files], check=True, capture_output=True
    )
    path.write_text(path.read_text() + Path(f"{path}.crt").read_text())
    return path


@pytest.fixture
def encrypted(certificate: Path) -> Iterator[FakeRegistry]:
    """A server that speaks TLS."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    with fake_registry(context) as server:
        yield server


def get(transport: Transport, url: str) -> bytes:
    """Get a small document."""
    with transport.request("GET", url, {}) as answer:
        return answer.document(1000, "a test")


def test_certificates_are_verified(transport: Transport, encrypted: FakeRegistry) -> None:
    """A certificate that nobody vouches for is refused with the way out; nothing is sent."""
    with pytest.raises(ConnectionFault, match="certificate that is not trusted") as refused:
        get(transport, f"https://{encrypted.address}/v2/")
    assert refused.value.again is False
    assert refused.value.hint is not None
    assert "SSL_CERT_FILE; --insecure" in refused.value.hint
    assert not encrypted.asked


def test_a_certificate_authority_of_ones_own(
    encrypted: FakeRegistry, nobody: Path, certificate: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """OpenSSL's SSL_CERT_FILE names what to believe in besides."""
    monkeypatch.setenv("SSL_CERT_FILE", f"{certificate}.crt")
    transport = Transport(insecure=False, patience=IMPATIENT)
    assert get(transport, f"https://{encrypted.address}/v2/") == b"{}"
    transport.close()


def test_insecure_takes_any_certificate(encrypted: FakeRegistry, nobody: Path) -> None:
    """What --insecure is for."""
    transport = Transport(insecure=True, patience=IMPATIENT)
    assert get(transport, f"https://{encrypted.address}/v2/") == b"{}"
    transport.close()


def test_plain_where_tls_was_expected(transport: Transport, fake: FakeRegistry) -> None:
    """A server without TLS is said to be one, or to break the connection."""
    with pytest.raises(ConnectionFault, match=r"does not speak TLS|broke the connection"):
        get(transport, f"https://{fake.address}/v2/")


def test_a_handshake_that_never_comes(fake: FakeRegistry, nobody: Path) -> None:
    """TLS has its own time to begin."""
    transport = Transport(insecure=False, patience=Patience(connect=0.2))
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        with pytest.raises(ConnectionFault):
            get(transport, f"https://127.0.0.1:{port}/")
    transport.close()


def test_a_connection_is_used_again(transport: Transport, fake: FakeRegistry) -> None:
    """As long as answers are read to their end; a broken off one costs its connection."""
    ports: list[int] = []

    def note(call: Call) -> bool:
        ports.append(call.handler.client_address[1])
        return False

    fake.trick = note
    for _ in range(3):
        get(transport, f"http://{fake.address}/v2/")
    with transport.request("HEAD", f"http://{fake.address}/v2/", {}):
        pass
    with transport.request("GET", f"http://{fake.address}/v2/", {}):
        pass  # not read
    get(transport, f"http://{fake.address}/v2/")
    assert len(set(ports[:5])) == 1
    assert ports[5] != ports[0]


def test_a_proxy_for_what_is_elsewhere(
    fake: FakeRegistry, nobody: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The environment's proxy gets what is not on this machine, with its own credentials."""
    monkeypatch.setenv("http_proxy", f"http://me:secret@{fake.address}")
    monkeypatch.setenv("no_proxy", "direct.invalid")
    transport = Transport(insecure=False, patience=IMPATIENT)
    get(transport, "http://registry.invalid/v2/")
    [asked] = fake.asked
    assert asked.path == "http://registry.invalid/v2/"
    assert asked.headers["proxy-authorization"] == "Basic bWU6c2VjcmV0"
    assert asked.secret is None
    with pytest.raises(ConnectionFault, match=r"`direct.invalid` is not known"):
        get(transport, "http://direct.invalid/v2/")
    get(transport, f"http://{fake.address}/v2/")
    assert fake.asked[-1].path == "/v2/"
    fake.trick = on("", lambda call: call.drop())
    with pytest.raises(NetworkError) as refused:
        get(transport, "http://registry.invalid/v2/")
    assert "secret" not in refused.value.message
    transport.close()


def test_a_tunnel_that_is_refused(
    fake: FakeRegistry, nobody: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A proxy that makes no tunnel is named as what failed, without its password."""
    monkeypatch.setenv("HTTPS_PROXY", f"http://me:secret@{fake.address}")
    transport = Transport(insecure=False, patience=IMPATIENT)
    with pytest.raises(ConnectionFault, match=r"the proxy on the way to `registry.invalid`") as no:
        get(transport, "https://registry.invalid/v2/")
    assert "secret" not in no.value.message
    transport.close()


def test_proxies_that_are_not_known(nobody: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """SOCKS would need another library."""
    monkeypatch.setenv("all_proxy", "socks5://me:secret@127.0.0.1:1")
    transport = Transport(insecure=False, patience=IMPATIENT)
    with pytest.raises(HostError, match=r"`socks5://127.0.0.1:1` is of a kind"):
        get(transport, "http://registry.invalid/")
    transport.close()


@pytest.mark.parametrize("url", ["http://[::1", "http://a..b/", "http://x:99999/", "http://é{}/"])
def test_addresses_that_are_none(transport: Transport, url: str) -> None:
    """What cannot be an address is an error of ours, not a traceback."""
    with pytest.raises((NetworkError, ValueError)) as refused:
        get(transport, url)
    assert isinstance(refused.value, NetworkError), refused.value


def test_whoever_waits_can_be_freed(transport: Transport, fake: FakeRegistry) -> None:
    """stop() ends a read in another thread at once, and every request after it."""
    hangs = threading.Event()

    def hang(call: Call) -> None:
        call.head(200, length=10)
        hangs.set()
        call.hang()

    fake.trick = on("", hang)
    ended: list[BaseException] = []

    def wait() -> None:
        try:
            get(transport, f"http://{fake.address}/")
        except BaseException as error:
            ended.append(error)

    thread = threading.Thread(target=wait)
    thread.start()
    assert hangs.wait(10)
    transport.stop()
    thread.join(10)
    assert isinstance(ended[0], Stopped)
    with pytest.raises(Stopped):
        get(transport, f"http://{fake.address}/")
    with pytest.raises(Stopped):
        transport.pause(100)


@pytest.mark.parametrize(
    ("host", "loopback"),
    [
        *((host, True) for host in ("localhost", "127.0.0.1", "127.9.9.9", "[::1]", "::1")),
        *((host, False) for host in ("", "10.0.0.1", "127.0.0.1.example", "localhost.example")),
        *((host, False) for host in ("0.0.0.0", "[::]", "128.0.0.1", "127.1", "x")),
    ],
)
def test_loopback(host: str, loopback: bool) -> None:
    """Only what cannot be another machine counts, whatever a resolver would say."""
    assert is_loopback(host) is loopback


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("7", 7), ("", None), ("soon", None), ("-1", None), ("9" * 30, 999_999_999), ("٣", None)],
)
def test_retry_after(
    transport: Transport, fake: FakeRegistry, text: str, seconds: float | None
) -> None:
    """Seconds are seconds; nonsense is nothing."""
    fake.trick = on("", lambda call: call.answer(200, Retry_After=text.encode().decode("latin-1")))
    with transport.request("GET", f"http://{fake.address}/", {}) as answer:
        assert retry_after(answer) == seconds


@pytest.mark.parametrize(("ahead", "least", "most"), [(100, 90, 101), (-100, 0, 0)])
def test_retry_after_a_date(
    transport: Transport, fake: FakeRegistry, ahead: int, least: int, most: int
) -> None:
    """A date is as many seconds as it is ahead."""
    date = format_datetime(datetime.now(UTC) + timedelta(seconds=ahead), usegmt=True)
    fake.trick = on("", lambda call: call.answer(200, Retry_After=date))
    with transport.request("GET", f"http://{fake.address}/", {}) as answer:
        assert isinstance(answer, Answer)
        seconds = retry_after(answer)
        assert seconds is not None
        assert least <= seconds <= most
