"""Weights over a real HTTP server that stalls, truncates, lies and redirects."""

import hashlib
import json
import multiprocessing
import resource
import socket
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import pytest

from data_catalog.weights.download import DownloadError, Patience, _check_redirect
from data_catalog.weights.resolve import (
    WeightFile,
    Weights,
    WeightsError,
    add,
    list_weights,
    load_registry,
    pull,
    resolve_weights,
    verify,
)
from tests.support.weight_server import Rule, Server, write_registry

BODY = bytes(range(256)) * 2000  # 512 000 bytes
SHA = hashlib.sha256(BODY).hexdigest()
OTHER = BODY[::-1]
HASTY = Patience(timeout_s=0.4, tries=3, pause_s=0.01)


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setenv("no_proxy", "127.0.0.1")  # this machine may have a proxy for everything else
    with Server().running() as running:
        yield running


@dataclass
class Case:
    """A server, a registry with one entry ``net``, and a weights folder."""

    server: Server
    folder: Path
    registry: dict[str, Weights] = field(default_factory=dict)

    def serve(self, rule: Rule, **fields: object) -> None:
        self.server.rules["/net.bin"] = rule
        self.registry = {"net": entry(url=f"{self.server.url}/net.bin", **fields)}

    def pull(self, patience: Patience = HASTY) -> Path:
        (path,) = pull("net", self.folder, registry=self.registry, patience=patience)
        return path

    @property
    def visible(self) -> list[str]:
        return sorted(p.name for p in self.folder.glob("[!.]*")) if self.folder.is_dir() else []


def entry(**fields: object) -> Weights:
    file = WeightFile("net.bin", **fields)  # type: ignore[arg-type]
    return Weights("net", "a test", "https://example.org/net", "MIT", "Nobody, 2024", (file,))


@pytest.fixture
def case(server: Server, tmp_path: Path) -> Case:
    return Case(server, tmp_path / "weights")


def test_a_pulled_file_is_whole_recorded_and_not_asked_for_again(case: Case) -> None:
    case.serve(Rule(BODY), sha256=SHA, size=len(BODY))
    seen: list[tuple[int, int | None]] = []
    (path,) = pull("net", case.folder, registry=case.registry, patience=HASTY, progress=lambda *at: seen.append(at))
    assert path.read_bytes() == BODY
    assert seen[-1] == (len(BODY), len(BODY))
    assert case.visible == ["digests.json", "net.bin"]
    assert json.loads((case.folder / "digests.json").read_text()) == {"net.bin": SHA}
    assert case.pull() == path
    assert len(case.server.requests) == 1


def test_a_cut_connection_is_resumed_where_it_stopped(case: Case) -> None:
    case.serve(Rule(BODY, etag='"v1"', cut_after=[200_000, 150_000]), sha256=SHA)
    assert case.pull().read_bytes() == BODY
    assert [(r.range, r.if_range) for r in case.server.requests] == [
        (None, None), ("bytes=200000-", '"v1"'), ("bytes=350000-", '"v1"'),
    ]  # fmt: skip


def test_a_later_call_goes_on_from_an_interrupted_one(case: Case) -> None:
    case.serve(Rule(BODY, cut_after=[300_000, 0, 0, 0]), sha256=SHA)
    with pytest.raises(WeightsError, match="the connection was cut after 300000 bytes; run the same command again"):
        case.pull()
    assert case.visible == []
    assert case.pull().read_bytes() == BODY
    assert case.server.requests[-1].range == "bytes=300000-"


def test_a_stalled_server_is_left_and_asked_again(case: Case) -> None:
    case.serve(Rule(BODY, etag='"v1"', cut_after=[100_000], stall=True), sha256=SHA)
    assert case.pull().read_bytes() == BODY
    assert [r.range for r in case.server.requests] == [None, "bytes=100000-"]


def test_a_server_that_always_stalls_is_given_up(case: Case) -> None:
    case.serve(Rule(BODY, cut_after=[0] * 9, stall=True), sha256=SHA)
    with pytest.raises(WeightsError, match=r"sent nothing for 0\.4 seconds after 0 bytes.*tubeflow weights add FILE"):
        case.pull()
    assert len(case.server.requests) == 3


def test_a_file_that_changed_between_two_halves_is_not_glued_together(case: Case) -> None:
    case.serve(Rule(BODY, etag='"v1"', cut_after=[200_000, 0, 0, 0]))
    with pytest.raises(WeightsError):
        case.pull()
    case.server.rules["/net.bin"] = Rule(OTHER, etag='"v2"')
    assert case.pull().read_bytes() == OTHER
    assert case.server.requests[-1].if_range == '"v1"'


def test_without_digest_and_version_nothing_is_resumed(case: Case) -> None:
    case.serve(Rule(BODY, cut_after=[200_000]))
    assert case.pull().read_bytes() == BODY
    assert [r.range for r in case.server.requests] == [None, None]


def test_a_server_without_ranges_is_read_from_the_start(case: Case) -> None:
    case.serve(Rule(BODY, etag='"v1"', ranges=False, cut_after=[400_000]), sha256=SHA)
    assert case.pull().read_bytes() == BODY


def test_a_file_longer_than_its_stated_length_is_refused(case: Case) -> None:
    case.serve(Rule(BODY, claim=300_000), sha256=SHA)
    with pytest.raises(WeightsError, match=f"net.bin from .* was refused: its SHA-256 is .* published is {SHA}"):
        case.pull()
    assert case.visible == []
    case.server.rules["/net.bin"] = Rule(BODY)
    assert case.pull().read_bytes() == BODY  # nothing of the wrong file was kept


def test_a_file_shorter_than_its_stated_length_is_given_up(case: Case) -> None:
    case.serve(Rule(BODY, claim=len(BODY) + 100_000), sha256=SHA)
    with pytest.raises(WeightsError, match="run the same command again, or download"):
        case.pull()
    assert case.visible == []
    assert len(case.server.requests) < 12


def test_another_length_than_published_is_refused_before_reading(case: Case) -> None:
    case.serve(Rule(BODY), sha256=SHA, size=len(BODY) - 1)
    with pytest.raises(WeightsError, match="has 512000 bytes instead of the published 511999"):
        case.pull()
    case.serve(Rule(BODY, no_length=True), sha256=SHA, size=400_000)
    with pytest.raises(WeightsError, match="sends more than the published 400000 bytes"):
        case.pull()
    assert case.visible == []


def test_a_file_of_unknown_length_is_read_to_its_end(case: Case) -> None:
    case.serve(Rule(BODY, no_length=True, cut_after=[200_000]))
    with pytest.raises(WeightsError, match="does not tell its length"):
        case.pull()
    case.serve(Rule(BODY, no_length=True), sha256=SHA)
    assert case.pull().read_bytes() == BODY


@pytest.mark.parametrize("published", [{"sha256": SHA}, {"sha256_prefix": SHA[:8]}])
def test_wrong_bytes_never_become_visible(case: Case, published: dict[str, str]) -> None:
    case.serve(Rule(OTHER), **published)
    with pytest.raises(WeightsError, match="was refused"):
        case.pull()
    assert case.visible == []
    assert not list(case.folder.glob(".*part*"))


def test_the_first_digest_is_recorded_and_a_later_change_refused(case: Case) -> None:
    case.serve(Rule(BODY))
    path = case.pull()
    path.unlink()
    case.server.rules["/net.bin"] = Rule(OTHER)
    with pytest.raises(WeightsError, match=f"recorded when it was first seen is {SHA}"):
        case.pull()
    assert case.visible == ["digests.json"]
    case.server.rules["/net.bin"] = Rule(BODY)
    assert case.pull().read_bytes() == BODY


def test_a_web_page_instead_of_the_file_is_refused(case: Case) -> None:
    case.serve(Rule(b"<html>please log in</html>", content_type="text/html; charset=utf-8"))
    with pytest.raises(WeightsError, match="answers with a web page instead of the file"):
        case.pull()
    assert case.visible == []


def test_a_busy_server_is_asked_again_and_a_missing_file_is_not(case: Case) -> None:
    case.serve(Rule(BODY, statuses=[503, 429]), sha256=SHA)
    assert case.pull().read_bytes() == BODY
    case.folder.joinpath("net.bin").unlink()
    case.server.requests.clear()
    case.serve(Rule(status=404), sha256=SHA)
    with pytest.raises(WeightsError, match="answers 404 Not Found"):
        case.pull()
    assert len(case.server.requests) == 1


def test_redirects_are_followed_with_the_range(case: Case) -> None:
    case.serve(Rule(status=302, location="/real.bin"), sha256=SHA)
    case.server.rules["/real.bin"] = Rule(BODY, etag='"v1"', cut_after=[200_000])
    assert case.pull().read_bytes() == BODY
    assert [(r.path, r.range) for r in case.server.requests] == [
        ("/net.bin", None), ("/real.bin", None), ("/net.bin", "bytes=200000-"), ("/real.bin", "bytes=200000-"),
    ]  # fmt: skip


@pytest.mark.parametrize("target", ["file:///etc/passwd", "ftp://127.0.0.1/x", "data:,x", "gopher://x/"])
def test_redirects_elsewhere_are_refused(case: Case, target: str) -> None:
    case.serve(Rule(status=302, location=target))
    with pytest.raises(WeightsError, match=r"only http and https are followed|answers 302 .* is not allowed"):
        case.pull()
    assert case.visible == []
    assert len(case.server.requests) == 1


@pytest.mark.parametrize(("start", "refused"), [("https://a.org/x", True), ("http://a.org/x", False)])
def test_a_redirect_never_leaves_https(start: str, refused: bool) -> None:
    answer = httpx.Response(302, headers={"Location": "http://b.org/x"}, request=httpx.Request("GET", start))
    if refused:
        with pytest.raises(DownloadError, match="redirects from https down"):
            _check_redirect(answer)
    else:
        _check_redirect(answer)


def test_a_redirect_in_a_circle_ends(case: Case) -> None:
    case.serve(Rule(status=302, location="/net.bin"))
    with pytest.raises(WeightsError, match="infinite loop"):
        case.pull()


@pytest.mark.parametrize("url", ["file:///etc/passwd", "ftp://example.org/x", "/etc/passwd"])
def test_other_addresses_in_the_registry_are_not_opened(tmp_path: Path, url: str) -> None:
    with pytest.raises(WeightsError, match="only http and https"):
        pull("net", tmp_path, registry={"net": entry(url=url)}, patience=HASTY)


def test_a_closed_network_tells_how_to_place_the_file_by_hand(tmp_path: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{free.getsockname()[1]}/net.bin"
    with pytest.raises(WeightsError) as caught:
        pull("net", tmp_path / "w", registry={"net": entry(url=url)}, patience=HASTY)
    sentence = str(caught.value)
    assert "127.0.0.1 cannot be reached" in sentence
    assert f"download {url} with a browser and run `tubeflow weights add FILE`" in sentence
    assert str(tmp_path / "w" / "net.bin") in sentence


def test_the_proxy_of_the_environment_is_asked(case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    case.serve(Rule(BODY), sha256=SHA)
    case.registry = {"net": entry(url="http://weights.invalid/net.bin", sha256=SHA)}
    monkeypatch.setenv("http_proxy", case.server.url)
    assert case.pull().read_bytes() == BODY
    assert [request.path for request in case.server.requests] == ["/net.bin"]


@pytest.mark.parametrize("proxy", ["http://127.0.0.1:9", "socks5://127.0.0.1:9"])
def test_a_dead_proxy_is_not_asked_for_what_it_is_not_for(
    proxy: str, case: Case, monkeypatch: pytest.MonkeyPatch
) -> None:
    case.serve(Rule(BODY), sha256=SHA)
    monkeypatch.setenv("all_proxy", proxy)
    assert case.pull().read_bytes() == BODY  # `no_proxy` names the server


def test_a_proxy_of_an_unknown_kind_is_named(case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    case.serve(Rule(BODY), sha256=SHA)
    monkeypatch.setenv("all_proxy", "gopher://127.0.0.1:9")
    with pytest.raises(WeightsError, match=r"the proxy that the environment names can't be used \(.*gopher"):
        case.pull()


def test_what_is_handed_out_on_a_page_only_says_so(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match=r"net\.bin of 'net' is handed out on https://example\.org/net only"):
        pull("net", tmp_path, registry={"net": entry()})


def _pull_in_process(url: str, folder: Path, ready: "multiprocessing.synchronize.Barrier") -> None:
    ready.wait()
    pull("net", folder, registry={"net": entry(url=url, sha256=SHA)}, patience=HASTY)


def test_two_processes_pull_once(case: Case) -> None:
    case.serve(Rule(BODY, slow_s=0.01))
    context = multiprocessing.get_context("spawn")
    ready = context.Barrier(2)
    url = f"{case.server.url}/net.bin"
    processes = [context.Process(target=_pull_in_process, args=(url, case.folder, ready)) for _ in range(2)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(60)
    assert [process.exitcode for process in processes] == [0, 0]
    assert (case.folder / "net.bin").read_bytes() == BODY
    assert len(case.server.requests) == 1


def test_four_threads_pull_once(case: Case) -> None:
    case.serve(Rule(BODY, slow_s=0.002), sha256=SHA)
    threads = [threading.Thread(target=case.pull) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (case.folder / "net.bin").read_bytes() == BODY
    assert len(case.server.requests) == 1


def test_a_write_that_the_system_refuses_stays_an_os_error(case: Case) -> None:
    case.serve(Rule(BODY), sha256=SHA)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, hard))
    try:
        with pytest.raises(OSError, match="File too large"):
            case.pull()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert case.visible == []
    assert case.pull().read_bytes() == BODY


def test_a_file_by_hand_is_checked_like_a_pulled_one(case: Case, tmp_path: Path) -> None:
    registry = {"net": entry(url="http://127.0.0.1:9/net.bin", sha256=SHA)}
    download = tmp_path / "net (1).download"
    download.write_bytes(BODY)
    assert add(download, case.folder, registry=registry) == case.folder / "net.bin"  # known by its digest
    assert download.exists()
    assert resolve_weights("net", case.folder, registry) == case.folder / "net.bin"
    (tmp_path / "net.bin").write_bytes(OTHER)
    with pytest.raises(WeightsError, match="was refused"):
        add(tmp_path / "net.bin", case.folder, registry=registry)
    assert (case.folder / "net.bin").read_bytes() == BODY
    (tmp_path / "mine.pt").write_bytes(b"mine")
    assert add(tmp_path / "mine.pt", case.folder, registry=registry).read_bytes() == b"mine"
    assert [(s.file, s.state) for s in list_weights(case.folder, registry)] == [
        ("net.bin", "present"), ("mine.pt", "unregistered"),
    ]  # fmt: skip


@pytest.mark.parametrize("name", ["../net.bin", "/etc/net.bin", "a/b", ".hidden", "digests.json", "", "a\nb", "a\\b"])
def test_no_name_leaves_the_weights_folder(tmp_path: Path, name: str) -> None:
    (tmp_path / "net.bin").write_bytes(BODY)
    with pytest.raises(WeightsError, match=r"no plain file name|no file"):
        add(tmp_path / "net.bin", tmp_path / "w", file=name or ".", registry={})
    if name and name.isprintable() and "\\" not in name:
        with pytest.raises(WeightsError, match="no plain file name"):
            load_registry(write_registry(tmp_path / "registry", "net", file=name))


def test_verify_finds_a_changed_file(case: Case, tmp_path: Path) -> None:
    case.serve(Rule(BODY), sha256=SHA)
    path = case.pull()
    (tmp_path / "mine.pt").write_bytes(b"mine")
    mine = add(tmp_path / "mine.pt", case.folder, registry=case.registry)
    assert [(s.file, s.state, s.note[:8]) for s in verify(case.folder, case.registry)] == [
        ("net.bin", "verified", SHA[:8]),
        ("mine.pt", "unregistered", hashlib.sha256(b"mine").hexdigest()[:8]),
    ]
    path.write_bytes(OTHER)
    mine.write_bytes(b"nime")
    checked = verify(case.folder, case.registry)
    assert [s.state for s in checked] == ["changed", "changed"]
    assert f"published is {SHA}; delete {path} and pull it again" in checked[0].note


def test_damaged_records_are_not_overwritten(case: Case) -> None:
    case.serve(Rule(BODY), sha256=SHA)
    case.folder.mkdir()
    (case.folder / "digests.json").write_text("{")
    with pytest.raises(WeightsError, match=r"digests\.json is damaged"):
        case.pull()
    assert (case.folder / "digests.json").read_text() == "{"


def test_resolving_names_paths_and_prefixes(tmp_path: Path) -> None:
    folder = tmp_path / "w"
    folder.mkdir()
    known = load_registry()
    own = tmp_path / "own.pt"
    own.write_bytes(b"x")
    assert resolve_weights(own, folder) == own
    with pytest.raises(WeightsError, match=r"weights 'yolo11n' are not in .*run `tubeflow weights pull yolo11n`"):
        resolve_weights("yolo11n", folder)
    (folder / "yolo11n.pt").write_bytes(b"x")
    assert resolve_weights("yolo11n", folder) == resolve_weights("yolo11n.pt", folder) == folder / "yolo11n.pt"
    (folder / "nanotrack_v2_head.onnx").write_bytes(b"x")
    with pytest.raises(WeightsError, match=r"nanotrack_v2_backbone\.onnx missing"):
        resolve_weights("nanotrack_v2", folder)
    (folder / "nanotrack_v2_backbone.onnx").write_bytes(b"x")
    assert resolve_weights("nanotrack_v2", folder) == folder / "nanotrack_v2"
    with pytest.raises(WeightsError, match="called 'yolo11m'; did you mean 'yolo11n'"):
        resolve_weights("yolo11m", folder)
    with pytest.raises(WeightsError, match="there is no weights file"):
        resolve_weights(tmp_path / "nowhere.pt", folder)
    assert set(known) >= {"nanotrack_v2", "siammask_davis", "i3d_rgb_imagenet"}


def test_the_registry_is_whole() -> None:
    for name, weights in load_registry().items():
        assert weights.files, name
        assert all((weights.purpose, weights.page, weights.licence, weights.citation)), name
        for file in weights.files:
            assert file.sha256 is None or (len(file.sha256) == 64 and int(file.sha256, 16) >= 0)
            assert file.url is None or file.url.startswith(("https://", "http://www.robots.ox.ac.uk/"))
            assert file.size is None or file.size > 0


def test_registered_digests_are_those_of_the_files_at_hand(shared: Path) -> None:
    found = 0
    for weights in load_registry().values():
        for file in weights.files:
            path = shared / "real" / file.file
            if path.is_file():
                found += 1
                assert path.stat().st_size == file.size
                assert hashlib.sha256(path.read_bytes()).hexdigest() == file.sha256
    assert found == 5


def test_a_malformed_entry_is_named(tmp_path: Path) -> None:
    write_registry(tmp_path, "odd", file="x", sha1="abc")
    with pytest.raises(WeightsError, match=r"odd\.toml is malformed .*sha1"):
        load_registry(tmp_path)
    (tmp_path / "odd.toml").write_text("purpose = ")
    with pytest.raises(WeightsError, match=r"odd\.toml is malformed"):
        load_registry(tmp_path)
