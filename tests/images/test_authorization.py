"""Who is told what: challenges, tokens for a scope, basic credentials."""

from __future__ import annotations

import base64
import itertools
import json
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, cast, final
from urllib.parse import parse_qs, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from anchor_supervisor.errors import ImageError, NetworkError
from anchor_supervisor.images.authorization import Authorization, Challenge, parse_challenges
from anchor_supervisor.images.pull import pull
from anchor_supervisor.images.push import push
from anchor_supervisor.images.store import Store
from fake_registry import Call, FakeRegistry, fake_registry
from registries import docker_registry
from registry_kit import IMPATIENT, Recorder, at, layer, on

REAL = pytest.mark.root

BASIC = "Basic " + base64.b64encode(b"me:secret").decode()


@pytest.mark.parametrize(
    ("headers", "challenges"),
    [
        (
            ['Bearer realm="https://auth.docker.io/token",service="a b",scope="x:y:pull,push"'],
            [
                Challenge(
                    "bearer",
                    {
                        "realm": "https://auth.docker.io/token",
                        "service": "a b",
                        "scope": "x:y:pull,push",
                    },
                )
            ],
        ),
        (["BASIC Realm=plain"], [Challenge("basic", {"realm": "plain"})]),
        (
            ['Basic realm="a\\"b", Bearer realm="c" , error=d'],
            [
                Challenge("basic", {"realm": 'a"b'}),
                Challenge("bearer", {"realm": "c", "error": "d"}),
            ],
        ),
        (
            ["Negotiate", "Bearer realm=x"],
            [Challenge("negotiate", {}), Challenge("bearer", {"realm": "x"})],
        ),
        ([""], []),
        (['="'], []),
    ],
)
def test_challenges(headers: list[str], challenges: list[Challenge]) -> None:
    """Schemes and parameters, quoted or not, several in one header or in several."""
    assert list(parse_challenges(headers)) == challenges


@given(st.lists(st.text(alphabet='aA ,="\\\t-:é', max_size=40), max_size=3))
def test_any_header_can_be_read(headers: list[str]) -> None:
    """Whatever a server sends is read to its end, without an exception."""
    assert all(each.scheme for each in parse_challenges(headers))


@final
class Tokens:
    """A token service, and the registry that wants its tokens: a trick for each."""

    def __init__(self, realm: str | None = None, uses: int = 1 << 30, **answer: Any) -> None:
        """A token is good for `uses` requests; `answer` replaces what the service says."""
        self.realm = realm
        self.uses, self.answer = uses, answer
        self.numbers = itertools.count(1)
        self.left: dict[str, int] = {}
        self.scopes: dict[str, str] = {}

    def service(self, call: Call) -> bool:
        """Give a token."""
        asked = call.asked
        query = parse_qs(asked.body.decode() or urlsplit(asked.path).query)
        token = f"token{next(self.numbers)}"
        self.left[f"Bearer {token}"] = self.uses
        self.scopes[f"Bearer {token}"] = query["scope"][0]
        call.answer(200, json.dumps({"token": token, **self.answer}).encode())
        return True

    def registry(self, call: Call) -> bool:
        """Want one."""
        left = self.left.get(call.asked.secret or "", 0)
        if left:
            self.left[call.asked.secret or ""] -= 1
            return False
        challenge = f'Bearer realm="{self.realm}",service="the registry"'
        call.answer(401, b"{}", WWW_Authenticate=challenge)
        return True


@pytest.fixture
def service() -> Iterator[FakeRegistry]:
    """Where the token service is."""
    with fake_registry() as server:
        yield server


def guard(fake: FakeRegistry, service: FakeRegistry, tokens: Tokens) -> None:
    """Have `fake` want the tokens of `service`."""
    tokens.realm = tokens.realm or f"http://{service.address}/token?x=y"
    fake.trick, service.trick = tokens.registry, tokens.service


def log_in(home: Path, address: str, entry: Mapping[str, str]) -> None:
    """Do as `docker login` does."""
    (home / ".docker").mkdir(exist_ok=True)
    (home / ".docker" / "config.json").write_text(json.dumps({"auths": {address: dict(entry)}}))


@REAL
def test_an_anonymous_token(fake: FakeRegistry, service: FakeRegistry, store: Store) -> None:
    """One token for its scope serves the whole pull, whatever is in parallel."""
    fake.add_image(layers=[layer(seed) for seed in range(6)])
    guard(fake, service, Tokens(expires_in=300))
    pull(at(fake), store, patience=IMPATIENT)
    [asked] = service.asked
    assert asked.secret is None
    query = parse_qs(urlsplit(asked.path).query)
    assert query == {"x": ["y"], "service": ["the registry"], "scope": ["repository:shop:pull"]}
    assert {each.secret for each in fake.asked[2:]} == {"Bearer token1"}


@REAL
def test_a_token_that_ends_early(
    fake: FakeRegistry, service: FakeRegistry, store: Store, nobody: Path
) -> None:
    """A refused token is replaced by a new one, and the work goes on; credentials are used."""
    log_in(nobody, fake.address, {"auth": "bWU6c2VjcmV0"})
    fake.add_image(layers=[layer(seed) for seed in range(5)])
    guard(fake, service, Tokens(uses=2))
    pull(at(fake), store, patience=IMPATIENT)
    assert len(service.asked) > 2
    assert {each.secret for each in service.asked} == {BASIC}
    assert all(each.secret != BASIC for each in fake.asked)


@REAL
def test_an_identity_token(
    fake: FakeRegistry, service: FakeRegistry, store: Store, nobody: Path
) -> None:
    """It is exchanged in a form, never in an address (oauth.md)."""
    log_in(nobody, fake.address, {"auth": "bWU6", "identitytoken": "long lived"})
    fake.add_image()
    guard(fake, service, Tokens())
    pull(at(fake), store, patience=IMPATIENT)
    [asked] = service.asked
    form = parse_qs(asked.body.decode())
    assert (asked.method, form["grant_type"]) == ("POST", ["refresh_token"])
    assert form["refresh_token"] == ["long lived"]
    assert "lived" not in asked.path


@REAL
def test_pushing_asks_for_more(fake: FakeRegistry, service: FakeRegistry, store: Store) -> None:
    """A push wants a token that allows it."""
    fake.add_image()
    image = pull(at(fake), store, patience=IMPATIENT)
    tokens = Tokens()
    guard(fake, service, tokens)
    push(image, at(fake, "other:1"), store, patience=IMPATIENT)
    assert set(tokens.scopes.values()) == {"repository:other:pull,push"}


@REAL
@pytest.mark.parametrize(
    ("realm", "words"),
    [
        ("http://tokens.example/x", "wants credentials in the clear"),
        ("file:///etc/passwd", "names no token service"),
        ("https://me:x@tokens.example/", "names no token service"),
        ("", "names no token service"),
    ],
)
def test_realms_that_are_not_asked(
    fake: FakeRegistry, service: FakeRegistry, store: Store, realm: str, words: str
) -> None:
    """A token service must speak TLS, unless it is on this machine."""
    guard(fake, service, Tokens(realm or "-"))
    with pytest.raises(NetworkError, match=words):
        pull(at(fake), store, patience=IMPATIENT)


@final
class Refusal:
    """A 401 of a registry elsewhere."""

    url = "https://registry.example/v2/"

    def headers(self, _: str) -> list[str]:
        """Lead to a service of the machine that asks."""
        return ['Bearer realm="http://127.0.0.1:9/private"']


def test_a_registry_elsewhere_does_not_lead_to_this_machine() -> None:
    """What listens here alone trusts whoever can reach it; no realm makes us its messenger."""
    known: list[None] = []
    asking = Authorization(cast("Any", None), "registry.example", "x", lambda: known.append(None))
    with pytest.raises(NetworkError, match="names this machine as its token service"):
        asking.satisfy(cast("Any", Refusal()), None)


@REAL
def test_a_token_for_ever(fake: FakeRegistry, service: FakeRegistry, store: Store) -> None:
    """JSON has numbers that no clock can be set to."""
    fake.add_image()
    guard(fake, service, Tokens(expires_in=10**400))
    pull(at(fake), store, patience=IMPATIENT)
    assert len(service.asked) == 1


@REAL
@pytest.mark.parametrize(
    "answer", [{"token": ""}, {"token": 1}, {"token": "a\r\nX-Evil: b"}, {"token": "x" * (1 << 21)}]
)
def test_tokens_that_are_none(
    fake: FakeRegistry, service: FakeRegistry, store: Store, answer: dict[str, Any]
) -> None:
    """What could not be a header, or is too much of one, is refused."""
    guard(fake, service, Tokens(**answer))
    with pytest.raises(NetworkError, match=r"gives no token|more than"):
        pull(at(fake), store, patience=IMPATIENT)


@REAL
def test_a_token_service_elsewhere_gets_nothing_more(
    fake: FakeRegistry, service: FakeRegistry, store: Store, nobody: Path
) -> None:
    """Where it leads on, credentials do not follow."""
    log_in(nobody, fake.address, {"auth": "bWU6c2VjcmV0"})
    guard(fake, service, Tokens())
    with fake_registry() as elsewhere:
        place = f"http://{elsewhere.address}/token"
        service.trick = on("", lambda call: call.answer(302, Location=place))
        with pytest.raises(NetworkError, match="answers 302"):
            pull(at(fake), store, patience=IMPATIENT)
        assert not elsewhere.asked


@REAL
def test_refusals_say_what_to_do(
    fake: FakeRegistry, service: FakeRegistry, store: Store, nobody: Path
) -> None:
    """Nobody is told to log in; somebody that it was not enough; passwords are never shown."""
    tokens = Tokens(uses=0)
    guard(fake, service, tokens)
    with pytest.raises(ImageError, match="no such repository, or wants credentials") as refused:
        pull(at(fake), store, patience=IMPATIENT)
    assert refused.value.hint is not None
    assert f"docker login {fake.address}" in refused.value.hint
    log_in(nobody, fake.address, {"auth": "bWU6c2VjcmV0"})
    with pytest.raises(ImageError, match="refuses the credentials that are stored"):
        pull(at(fake), store, patience=IMPATIENT)
    service.trick = on("", lambda call: call.answer(401))
    with pytest.raises(ImageError, match="refuses the credentials that are stored") as refused:
        pull(at(fake), store, patience=IMPATIENT)
    assert "secret" not in f"{refused.value.message}{refused.value.hint}"


@REAL
def test_a_helper_is_not_run(fake: FakeRegistry, store: Store, nobody: Path) -> None:
    """A credential helper is a warning that names the file; nothing is executed."""
    (nobody / ".docker").mkdir()
    path = nobody / ".docker" / "config.json"
    path.write_text(json.dumps({"credHelpers": {fake.address: "evil"}}))
    fake.trick = on("", lambda call: call.answer(401, WWW_Authenticate='Basic realm="x"'))
    recorder = Recorder()
    with pytest.raises(ImageError, match="wants credentials"):
        pull(at(fake), store, patience=IMPATIENT, progress=recorder)
    [line] = recorder.lines
    assert f"`{path}` leaves the credentials of `{fake.address}` to a credential helper" in line


@REAL
def test_a_registry_with_basic_authentication(store: Store, nobody: Path, tmp_path: Path) -> None:
    """Debian's docker-registry with `htpasswd -B`: skopeo pushes, anchor pulls and pushes."""
    command = ["htpasswd", "-Bbn", "-C", "4", "me", "secret"]
    users = subprocess.run(command, check=True, capture_output=True).stdout
    (tmp_path / "users").write_bytes(users)
    with fake_registry() as other, docker_registry(tmp_path, tmp_path / "users") as address:
        other.add_image(layers=[layer(1)])
        image = pull(at(other), store, patience=IMPATIENT)
        with pytest.raises(ImageError, match="wants credentials"):
            push(image, at(address), store, patience=IMPATIENT)
        log_in(nobody, address, {"auth": "bWU6d3Jvbmc="})
        with pytest.raises(ImageError, match="refuses the credentials"):
            push(image, at(address), store, patience=IMPATIENT)
        log_in(nobody, address, {"auth": "bWU6c2VjcmV0"})
        assert push(image, at(address), store, patience=IMPATIENT) == image.digest
        tls, source = "--tls-verify=false", f"docker://{address}/shop:1"
        inspect = ["skopeo", "inspect", tls, "--creds", "me:secret", source]
        looked = json.loads(subprocess.run(inspect, check=True, capture_output=True).stdout)
        assert looked["Digest"] == image.digest
        place = Store(store.data / "other")
        assert pull(at(address), place, patience=IMPATIENT).digest == image.digest
