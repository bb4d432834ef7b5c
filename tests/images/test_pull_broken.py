"""Pulling over connections that break, from servers that are busy, by processes that are killed."""

from __future__ import annotations

import itertools
import random
import threading
from pathlib import Path

import pytest

from anchor_supervisor.errors import ImageError, NetworkError
from anchor_supervisor.images.model import OCI_LAYER, Image
from anchor_supervisor.images.pull import pull
from anchor_supervisor.images.push import push
from anchor_supervisor.images.store import Store
from fake_registry import Call, FakeRegistry, digest_of
from image_store import assert_only, die_after, ended, hexes, in_child
from registries import docker_registry
from registry_kit import IMPATIENT, Recorder, as_it_is, at, layer, on

pytestmark = [pytest.mark.root, pytest.mark.native]  # the same code on any kernel

SIZE = 3_000_000
ALARMED = -14


class Dropper:
    """Breaks the first answers for a big blob after `sent` bytes of each."""

    def __init__(self, sent: int, times: int = 1 << 30, *, ranges: bool = True) -> None:
        """`ranges`: whether the server knows them."""
        self.sent, self.left, self.ranges = sent, times, ranges
        self.asked: list[str | None] = []

    def __call__(self, call: Call) -> bool:
        """Answer for blobs that are big."""
        content = call.registry.blobs.get(call.asked.path.rpartition("/")[2], b"")
        if len(content) < SIZE:
            return False
        asked = call.asked.headers.get("range")
        self.asked.append(asked)
        start = int(asked[6:-1]) if asked and self.ranges else 0
        if start:
            where = f"bytes {start}-{len(content) - 1}/{len(content)}"
            call.head(206, length=len(content) - start, Content_Range=where)
        else:
            call.head(200, length=len(content))
        if not self.left:
            call.send(content[start:])
            return True
        self.left -= 1
        call.send(content[start : start + self.sent])
        call.drop()
        return True


@pytest.fixture
def big(fake: FakeRegistry) -> FakeRegistry:
    """A registry with an image of one big layer."""
    fake.add_image(layers=[layer(1, SIZE)], pack=as_it_is)
    return fake


def test_a_broken_connection_is_resumed(big: FakeRegistry, store: Store) -> None:
    """What has come is not asked for again, and a person is told."""
    big.trick = dropper = Dropper(1_000_000, times=2)
    recorder = Recorder()
    image = pull(at(big), store, patience=IMPATIENT, progress=recorder)
    assert dropper.asked == [None, "bytes=1000000-", "bytes=2000000-"]
    size = image.layers[0].blob.size
    assert recorder.lines[0].endswith(f"downloading {size}")
    assert sum("trying again in" in line for line in recorder.lines) == 2


def test_a_server_without_ranges(big: FakeRegistry, store: Store) -> None:
    """It begins again at the first byte, and so do we."""
    big.trick = dropper = Dropper(1_000_000, times=2, ranges=False)
    recorder = Recorder()
    image = pull(at(big), store, patience=IMPATIENT, progress=recorder)
    assert dropper.asked == [None, "bytes=1000000-", "bytes=1000000-"]
    assert recorder.counts[image.layers[0].blob.digest[7:19]] == image.layers[0].blob.size


@pytest.mark.parametrize("ranges", [True, False])
def test_a_server_that_always_breaks(big: FakeRegistry, store: Store, ranges: bool) -> None:
    """It is not asked for ever: tries are counted anew only where they got somewhere."""
    big.trick = dropper = Dropper(1_000 if ranges else 2_000_000, ranges=ranges)
    with pytest.raises(NetworkError, match="broke the connection") as refused:
        pull(at(big), store, patience=IMPATIENT)
    assert refused.value.message.startswith(f"cannot pull `{big.address}/shop:1`: ")
    assert len(dropper.asked) == IMPATIENT.tries
    assert not list(store.images())


@pytest.mark.parametrize("part", ["blobs/", "manifests/"])
def test_a_length_of_thousands_of_digits(fake: FakeRegistry, store: Store, part: str) -> None:
    """Is no length; what comes is counted, and nothing but an error of ours comes out."""
    fake.add_image()
    fake.trick = on(part, lambda call: call.head(200, length=None, Content_Length="9" * 5000))
    with pytest.raises((NetworkError, ImageError), match="cannot pull"):
        pull(at(fake), store, patience=IMPATIENT)


def test_the_next_pull_goes_on(big: FakeRegistry, store: Store) -> None:
    """What a pull that failed has brought is there for the next; nothing else is left."""
    big.trick = Dropper(500_000)
    with pytest.raises(NetworkError):
        pull(at(big), store, patience=IMPATIENT)
    [part] = hexes(store, "ingest")
    size = (store.data / "store/ingest" / part).stat().st_size
    assert size == 500_000 * IMPATIENT.tries
    big.trick = dropper = Dropper(0, times=0)
    image = pull(at(big), store, patience=IMPATIENT)
    assert dropper.asked == [f"bytes={size}-"]
    store.prune()
    assert_only(store, image)


def test_an_earlier_liars_part(big: FakeRegistry, store: Store) -> None:
    """Bytes of an earlier try that are not of this blob cost one more download, not the pull."""
    [digest] = [digest for digest, content in big.blobs.items() if len(content) >= SIZE]
    right = big.blobs[digest]
    big.blobs[digest] = bytes(len(right))
    big.trick = Dropper(500_000)
    with pytest.raises(NetworkError):
        pull(at(big), store, patience=IMPATIENT)
    big.blobs[digest] = right
    big.trick = dropper = Dropper(0, times=0)
    image = pull(at(big), store, patience=IMPATIENT)
    assert dropper.asked == [f"bytes={500_000 * IMPATIENT.tries}-", None]
    store.prune()
    assert_only(store, image)


@pytest.mark.parametrize(("status", "after"), [(429, "1"), (500, None), (503, "")])
def test_a_busy_server(fake: FakeRegistry, store: Store, status: int, after: str | None) -> None:
    """It is asked again, after as long as it says, or a little where it does not."""
    fake.add_image()
    numbers = itertools.count()

    def busy(call: Call) -> bool:
        if "/v2/shop" in call.asked.path and next(numbers) < 1:
            headers = {} if after is None else {"Retry_After": after}
            call.answer(status, b'{"errors":[{"message":"too much"}]}', **headers)
            return True
        return False

    fake.trick = busy
    recorder = Recorder()
    pull(at(fake), store, patience=IMPATIENT, progress=recorder)
    seconds = 1.0 if after else 0.0
    sentence = f"registry `{fake.address}` answers {status}: too much; trying again in {seconds} s"
    assert recorder.lines[0] == sentence


def answered(call: Call, status: int, **headers: str) -> bool:
    """Answer everything but the first look with this status."""
    if call.asked.path == "/v2/":
        return False
    call.answer(status, b"", **headers)
    return True


def test_a_server_that_stays_busy(fake: FakeRegistry, store: Store) -> None:
    """Tries are bounded, and so is what is waited for."""
    fake.trick = lambda call: answered(call, 503)
    with pytest.raises(NetworkError, match="answers 503"):
        pull(at(fake), store, patience=IMPATIENT)
    assert len(fake.of("/manifests/")) == IMPATIENT.tries
    fake.asked.clear()
    fake.trick = lambda call: answered(call, 429, Retry_After="86400")
    with pytest.raises(NetworkError, match="answers 429"):
        pull(at(fake), store, patience=IMPATIENT)
    assert len(fake.of("/manifests/")) == 1


def test_the_first_failure_ends_everything(fake: FakeRegistry, store: Store) -> None:
    """While one layer hangs for ever, another one's lie ends the pull at once."""
    fake.add_image(layers=[layer(1), layer(2), layer(3)], pack=as_it_is)
    hanging, liar = (digest_of(layer(seed)) for seed in (1, 2))
    hangs = threading.Event()

    def misbehave(call: Call) -> bool:
        if hanging in call.asked.path:
            hangs.set()
            call.hang()
            return True
        if liar in call.asked.path:
            hangs.wait(10)
            call.answer(200, bytes(len(layer(2))))
            return True
        return False

    fake.trick = misbehave
    with pytest.raises(ImageError, match="is damaged"):
        pull(at(fake), store)  # with all the patience that there is by default
    names = {thread.name for thread in threading.enumerate()}
    assert not names & {"download", "unpack"}
    store.prune()
    assert_only(store)


@pytest.mark.parametrize("verb", ["downloading", "unpacking"])
def test_a_progress_that_wants_no_more(big: FakeRegistry, store: Store, verb: str) -> None:
    """Whatever a progress raises ends the pull, and comes out of it."""

    class EnoughError(Exception):
        pass

    def enough(counts: dict[str, int]) -> None:
        if max(counts.values()) > SIZE / 2 and verb in recorder.lines[-1]:
            raise EnoughError

    recorder = Recorder(enough)
    with pytest.raises(EnoughError):
        pull(at(big), store, patience=IMPATIENT, progress=recorder)
    store.prune()
    assert_only(store)


def test_killed_at_any_instant(store: Store, tmp_path: Path) -> None:
    """After kills at random instants the next pull succeeds, and a prune leaves only the image."""
    chance = random.Random(7)
    with docker_registry(tmp_path / "registry") as address:
        image = _pushed(address, store)
        place = Store(store.data / "other")
        killed = 0
        for _ in range(25):

            def dying(instant: float = chance.uniform(0.001, 0.12)) -> None:
                die_after(instant)
                pull(at(address), place, patience=IMPATIENT)

            code = ended(in_child(dying))
            assert code in (0, ALARMED)
            killed += code != 0
            for each in place.images():
                place.image(each.digest)
        assert killed
        assert pull(at(address), place, patience=IMPATIENT) == image
        place.prune()
        assert_only(place, image)
        place.untag(at(address))
        place.prune(everything=True)
        assert_only(place)


def _pushed(address: str, store: Store) -> Image:
    """Have a registry have an image of three layers."""
    with store.lease("test") as lease:
        layers = []
        for seed in range(3):
            blob = store.add_blob(lease, OCI_LAYER, layer(seed, SIZE))
            layers.append(store.ensure_layer(lease, blob, None))
        image = store.make_image(lease, {"os": "linux", "architecture": "amd64"}, layers)
        push(image, at(address), store, patience=IMPATIENT)
    return image
