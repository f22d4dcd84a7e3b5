"""What must not get through: other sites' pages, other hosts, other people, and every path out of the workspace."""

import re
import shutil
import urllib.parse
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from data_catalog.tables.edits import Edit
from flows.view.access import HEADERS, MAX_BODY, Access, is_loopback
from flows.view.pages import PAGES, web_files
from tests.support.tiny_workspace import DATASET, copy_workspace
from tests.support.view_pages import ORIGIN, Pages, clip_name, pages_of

SECRET = "a file that nobody outside may read"
TRICKS = (
    "../secret.txt",
    "../../secret.txt",
    "%2e%2e/secret.txt",
    "%2e%2e%2fsecret.txt",
    "..%2f..%2fsecret.txt",
    "..%5c..%5csecret.txt",
    "%252e%252e%252fsecret.txt",
    "....//secret.txt",
    "/etc/passwd",
    "//etc/passwd",
    "%2fetc%2fpasswd",
    "secret.txt%00.h5",
    "secret.txt%00.jpg",
    "..;/secret.txt",
    "file:///etc/passwd",
    "C:%5cWindows%5cwin.ini",
    "\u2025/secret.txt",
)


@pytest.fixture
def root(finished_workspace: Path, tmp_path: Path) -> Path:
    (tmp_path / "secret.txt").write_text(SECRET)
    return copy_workspace(finished_workspace, tmp_path / "ws")


def edits(pages: Pages) -> list[Edit]:
    return pages.workspace.datasets.edits(DATASET).read()


# -- paths


@pytest.mark.parametrize("trick", TRICKS)
def test_no_path_leads_out_of_the_workspace(pages: Pages, trick: str) -> None:
    key = pages.clip()["frames"]["key"]
    addresses = [
        f"/static/{trick}",
        f"/static/shared/{trick}",
        f"/static/{trick}/base.js",
        f"/files/{trick}",
        f"/files/normalize/{trick}",
        f"/files/{trick}/{key}.h5",
        f"/frames/{trick}/all",
        f"/frames/{trick}/0.jpg",
        f"/frames/{key}/{trick}",
        f"/thumbs/{trick}",
        f"/thumbs/{trick}.jpg",
        f"/filmstrip/{trick}.jpg",
        f"/{trick}",
    ]
    for address in addresses:
        answer = pages.client.request("GET", address)
        assert answer.status_code in (404, 421), (address, answer.status_code, answer.text)
        assert SECRET not in answer.text
        assert "root:" not in answer.text


@pytest.mark.parametrize("trick", [urllib.parse.unquote(trick) for trick in TRICKS])
def test_no_parameter_leads_out_of_the_workspace(pages: Pages, trick: str) -> None:
    key = pages.clip()["frames"]["key"]
    for path, params in (
        ("/api/tube", {"track": trick}),
        ("/api/iou", {"a": trick, "b": trick}),
        ("/api/clip", {"dataset": trick, "clip": clip_name(0)}),
        ("/api/clip", {"dataset": DATASET, "clip": trick}),
        ("/api/variants", {"dataset": trick}),
        ("/api/jobs/x", {}),
        (f"/thumbs/{key}.jpg", {"track": trick}),
    ):
        assert pages.client.get(path, params=params).status_code == 404, path
    score = pages.client.get("/api/score", params={"dataset": DATASET, "clip": clip_name(0), "run": trick})
    assert score.status_code == 409
    named = {"dataset": DATASET, "clip": trick}
    pages.post("/api/labels", named | {"bad": True}, status=404)
    pages.post("/api/rerun", named | {"scope": "clip"}, status=404)


def test_an_artifact_that_is_a_link_out_is_not_served(root: Path) -> None:
    with pages_of(root) as pages:
        entry = pages.clip()["lineage"][1]
        path = Path(entry["path"])
        assert pages.client.get(entry["download"]).status_code == 200
        folder = path.parent
        away = folder.rename(folder.with_name("zz"))
        folder.symlink_to(root.parent, target_is_directory=True)
        (root.parent / path.name).write_text(SECRET)
        answer = pages.client.get(entry["download"])
        assert (answer.status_code, SECRET in answer.text) == (404, False)
        folder.unlink()
        away.rename(folder)
        outside = root.parent / "outside.h5"
        shutil.move(path, outside)
        path.symlink_to(outside)
        answer = pages.client.get(entry["download"])
        assert (answer.status_code, "is a link, not a file; it was removed" in answer.text) == (404, True)
        assert outside.exists()
        assert not path.is_symlink()


def test_an_artifact_that_the_catalog_does_not_know_is_not_served(root: Path) -> None:
    with pages_of(root) as pages:
        stray = root / "artifacts" / "normalize" / "ab" / f"{'ab' * 20}.h5"
        stray.parent.mkdir(exist_ok=True)
        stray.write_text(SECRET)
        assert pages.client.get(f"/files/normalize/{'ab' * 20}.h5").status_code == 404
        assert pages.client.get(f"/files/tmp/{'ab' * 20}.h5").status_code == 404


def test_static_files_are_those_of_the_package_alone(pages: Pages) -> None:
    for name in web_files():
        assert pages.client.get(f"/static/{name}").status_code == 200
    assert pages.client.get("/static/clip_rows.py").status_code == 404
    assert pages.client.get("/static/../clip_rows.py").status_code == 404


# -- other sites


def test_another_host_name_is_refused(pages: Pages) -> None:
    """A name that an attacker's DNS points here (rebinding), and header tricks."""
    for host in ("evil.example", "127.0.0.1.evil.example", "localhost.evil.example", "127.0.0.1@evil.example",
                 "evil.example:8321", "192.168.1.5", "", "localhost:port", "localhost/evil", "[::2]"):  # fmt: skip
        answer = pages.client.get("/api/session", headers={"host": host})
        assert answer.status_code == 421, host
        assert pages.access.csrf not in answer.text
    for host in ("localhost:8321", "127.0.0.1", "[::1]:8321", "LOCALHOST"):
        assert pages.client.get("/api/session", headers={"host": host}).status_code == 200, host


def test_pages_of_other_sites_get_nothing(pages: Pages) -> None:
    key = pages.clip()["frames"]["key"]
    for address in ("/api/session", f"/frames/{key}/0.jpg", "/"):
        for site in ("cross-site", "same-site"):
            headers = {"sec-fetch-site": site, "sec-fetch-mode": "no-cors"}
            assert pages.client.get(address, headers=headers).status_code == 403
    link = {"sec-fetch-site": "cross-site", "sec-fetch-mode": "navigate"}
    assert pages.client.get("/", headers=link).status_code == 200  # a link to the gallery may be followed
    assert pages.client.post("/api/labels", headers=link, json={}).status_code == 403


def test_every_answer_carries_the_headers(pages: Pages) -> None:
    key = pages.clip()["frames"]["key"]
    for address in (*PAGES, "/static/shared/base.js", "/api/session", f"/frames/{key}/0.jpg", "/nothing", "/api/tube"):
        answer = pages.client.get(address)
        for name, value in HEADERS.items():
            assert answer.headers[name] == value, (address, name)
        assert "access-control-allow-origin" not in answer.headers
        assert "set-cookie" not in answer.headers
    policy = HEADERS["content-security-policy"]
    assert "unsafe" not in policy
    assert "*" not in policy
    assert "http" not in policy


def test_pages_ask_nothing_of_other_hosts_and_hold_no_inline_code() -> None:
    names = ("http://www.w3.org/2000/svg", "http://www.w3.org/1999/xlink")
    for name, path in web_files().items():
        if path.suffix not in (".html", ".css", ".js", ".svg"):
            continue
        text = path.read_text()
        for namespace in names:
            text = text.replace(namespace, "")
        assert not re.search(r"(https?:)?//[\w-]+\.\w", re.sub(r"^\s*(//|\*).*$", "", text, flags=re.M)), name
        if path.suffix == ".html":
            assert not re.search(r"<script(?![^>]*\ssrc=)", text), name
            assert not re.search(r"\s(style|on\w+)=", text), name


# -- writes

WRITE = {"dataset": DATASET, "clip": clip_name(0), "bad": True}


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"x-tubeflow-csrf": ""}, 403),
        ({"x-tubeflow-csrf": "guess"}, 403),
        ({"x-tubeflow-csrf": "é"}, 403),
        ({"origin": "http://evil.example"}, 403),
        ({"origin": "null"}, 403),
        ({"origin": "http://127.0.0.1:9999"}, 403),
        ({"origin": f"{ORIGIN}.evil.example"}, 403),
        ({"content-type": "text/plain"}, 415),
        ({"content-type": "application/x-www-form-urlencoded"}, 415),
        ({"content-length": "99999999999"}, 413),
        ({"sec-fetch-site": "cross-site", "sec-fetch-mode": "cors"}, 403),
    ],
)
def test_a_write_of_anybody_else_is_refused(root: Path, headers: dict[str, str], status: int) -> None:
    with pages_of(root) as pages:
        sent = {"x-tubeflow-csrf": pages.access.csrf, "origin": ORIGIN, **headers}
        raw = {name: value.encode("utf-8") for name, value in sent.items()}
        answer = pages.client.post("/api/labels", json=WRITE, headers=raw)  # type: ignore[arg-type]
        assert answer.status_code == status, answer.text
        assert edits(pages) == []


def test_reading_never_writes_and_other_methods_do_nothing(pages: Pages) -> None:
    assert pages.client.get("/api/labels", params=WRITE).status_code in (404, 405)
    for method in ("PUT", "DELETE", "PATCH", "OPTIONS", "TRACE"):
        assert pages.client.request(method, "/api/labels").status_code == 405


def test_a_body_without_end_is_cut_off(root: Path) -> None:
    def flood() -> Iterator[bytes]:
        for _ in range(4):
            yield b" " * (MAX_BODY // 2)

    with pages_of(root) as pages:
        headers = {"x-tubeflow-csrf": pages.access.csrf, "origin": ORIGIN, "content-type": "application/json"}
        try:
            status = pages.client.post("/api/labels", content=flood(), headers=headers).status_code
        except Exception:  # the server hung up in the middle
            status = 400
        assert status >= 400
        assert edits(pages) == []


# -- others on the network


@pytest.fixture
def guarded(finished_workspace: Path) -> Iterator[Pages]:
    with pages_of(finished_workspace, Access.of("0.0.0.0", 8321)) as found:
        yield found


def test_bound_elsewhere_a_token_comes_first(guarded: Pages) -> None:
    token = guarded.access.token
    assert token is not None
    assert len(token) >= 43
    for address in ("/", "/static/shared/base.js", "/api/session", "/nothing"):
        answer = guarded.client.get(address)
        assert answer.status_code == 401
        assert token not in answer.text
    for wrong in ("", token[:-1], token + "x", "é"):
        assert guarded.client.get("/", params={"token": wrong}).status_code == 401
    entered = guarded.client.get("/clip", params={"token": token, "dataset": "a b"}, follow_redirects=False)
    assert (entered.status_code, entered.headers["location"]) == (303, "/clip?dataset=a+b")
    cookie = entered.headers["set-cookie"].lower()
    assert "httponly" in cookie
    assert "samesite=lax" in cookie
    assert guarded.client.get("/api/session").status_code == 200  # by the cookie


def test_the_token_opens_no_way_to_another_host(guarded: Pages) -> None:
    answer = guarded.client.get(
        "//evil.example/", params={"token": guarded.access.token}, follow_redirects=False
    )
    assert answer.headers.get("location", "/").startswith("/")
    assert not answer.headers.get("location", "/").startswith("//")


def test_a_program_may_bring_the_token_as_a_bearer(guarded: Pages) -> None:
    assert guarded.client.get("/api/session", headers={"authorization": "Bearer nobody"}).status_code == 401
    headers = {"authorization": f"Bearer {guarded.access.token}"}
    assert guarded.client.get("/api/session", headers=headers).status_code == 200
    refused = guarded.client.post("/api/labels", json=WRITE, headers=headers)
    assert refused.status_code == 403  # the token alone writes nothing


def test_who_counts_as_this_machine() -> None:
    assert all(map(is_loopback, ("127.0.0.1", "localhost", "::1", "[::1]", "127.9.9.9")))
    assert not any(map(is_loopback, ("0.0.0.0", "::", "192.168.1.5", "example.org", "")))
    assert Access.of("127.0.0.1", 1).token is None
    assert Access.of("10.0.0.1", 1).token != Access.of("10.0.0.1", 1).token
    opened = Access.of("0.0.0.0", 1, ("Lab.Example",))
    assert opened.knows_host("lab.example:8321")
    assert opened.knows_host("192.168.1.5:8321")
    assert not opened.knows_host("evil.example")


def test_an_error_tells_a_sentence_and_no_traceback(pages: Pages, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: Any) -> None:
        raise RuntimeError("secret detail")

    monkeypatch.setattr("flows.view.api.clip.read_tube", broken)
    answer = pages.client.get("/api/tube", params={"track": "0" * 40})
    assert (answer.status_code, answer.json()) == (500, {"error": "The server failed at this; its terminal says more."})
