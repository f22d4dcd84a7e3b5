"""docker-compose.yml without Docker: all that it names exists, and its commands run on a real database and Redis."""

from __future__ import annotations

import contextlib
import functools
import importlib
import os
import re
import shlex
import shutil
import subprocess
import sys
import time
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import prefect.settings
import psutil
import pytest
import yaml
from prefect_redis.client import RedisMessagingSettings

from tests.support.prefect_server import REPO, PrefectServer, end, free_port, running, wait_until_healthy

COMPOSE: dict[str, Any] = yaml.safe_load((REPO / "docker-compose.yml").read_text())
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
OURS = [name for name, service in SERVICES.items() if "build" in service]
ONCE = ("migrate", "setup")
VARIABLE = re.compile(r"\$\{(\w+):([?-])([^}]*)\}")
PASSWORDS = {f"{owner}_PASSWORD": f"not-a-secret-{owner}" for owner in ("POSTGRES", "REDIS", "PREFECT")}
# The root's file system read-only but for /tmp, no capability, no way to gain one: what compose asks of the engine.
CONFINED = [
    *("unshare", "--mount", "sh", "-ec", 'mount --bind /tmp /tmp; mount -o remount,bind,ro /; exec "$@"', "sh"),
    *("setpriv", "--no-new-privs", "--inh-caps=-all", "--bounding-set=-all"),
]


def filled(value: str) -> str:
    """A value of the file as compose reads it, with our passwords."""
    def one(found: re.Match[str]) -> str:
        name, sign, text = found.groups()
        return PASSWORDS[name] if sign == "?" else text

    return VARIABLE.sub(one, value).replace("$$", "$")


def size(text: str) -> int:
    """Bytes of `512m`, `8g`."""
    return int(text[:-1]) << {"m": 20, "g": 30}[text[-1]]


def command_lines(service: str) -> list[list[str]]:
    """The commands that a service runs, each as its words; a shell's line is taken apart."""
    words = SERVICES[service]["command"]
    if words[0] != "sh":
        return [words]
    return [shlex.split(line) for line in words[-1].replace("$$", "$").split("&&")]


def test_every_image_names_a_version() -> None:
    images = [service["image"] for service in SERVICES.values()]
    dockerfile = (REPO / "Dockerfile").read_text()
    for image in [*images, *re.findall(r"^FROM (\S+)", dockerfile, re.MULTILINE)]:
        assert re.search(r":\d+\.\d+\.?\d*", image), image


@pytest.mark.parametrize("name", SERVICES)
def test_services_are_confined(name: str) -> None:
    service = SERVICES[name]
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert "cap_add" not in service
    assert "privileged" not in service
    assert size(filled(service["mem_limit"])) <= 8 << 30
    # Who isn't root in the image already is named.
    runs_as = re.findall(r"^USER (\S+)", (REPO / "Dockerfile").read_text(), re.MULTILINE)
    assert service.get("user", runs_as[-1] if "build" in service else "root") != "root"


def test_images_home_and_temporary_folder_can_be_written() -> None:
    home = re.findall(r"PREFECT_HOME=(\S+)", (REPO / "Dockerfile").read_text())[0]
    for name in OURS:
        assert "/tmp" in SERVICES[name]["tmpfs"], name
        assert any(Path(home).is_relative_to(folder) for folder in SERVICES[name]["tmpfs"]), name


def test_every_password_is_asked_for() -> None:
    """What has no default is refused with a sentence while it is unset or empty, and has no value in .env.example."""
    text = (REPO / "docker-compose.yml").read_text()
    assert re.findall(r"\$\{[^}]*\}|(?<!\$)\$\w+", text) == [found[0] for found in VARIABLE.finditer(text)]
    example = dict(line.split("=") for line in (REPO / ".env.example").read_text().splitlines() if line[0] != "#")
    asked = {name for name, sign, _ in VARIABLE.findall(text) if sign == "?"}
    assert asked == {name for name, value in example.items() if not value} == set(PASSWORDS)
    defaults = {name: value for name, sign, value in VARIABLE.findall(text) if sign == "-"}
    assert defaults == {name: value for name, value in example.items() if value}
    assert all(value == "make .env draws one" for name, sign, value in VARIABLE.findall(text) if sign == "?")


def test_make_env_draws_passwords(tmp_path: Path) -> None:
    for name in ("Makefile", ".env.example"):
        shutil.copy(REPO / name, tmp_path)
    subprocess.run(["make", ".env"], cwd=tmp_path, check=True, capture_output=True)
    drawn = dict(line.split("=") for line in (tmp_path / ".env").read_text().splitlines() if line[0] != "#")
    assert len({drawn[name] for name in PASSWORDS}) == len(PASSWORDS)
    assert all(re.fullmatch("[0-9a-f]{48}", drawn[name]) for name in PASSWORDS)
    assert (tmp_path / ".env").stat().st_mode & 0o077 == 0
    before = (tmp_path / ".env").read_text()
    subprocess.run(["make", ".env"], cwd=tmp_path, check=True, capture_output=True)
    assert (tmp_path / ".env").read_text() == before


def test_images_are_pinned_by_digest(tmp_path: Path) -> None:
    """`make pin-images`, with a program in `docker`'s place that answers as the registry would."""
    for name in ("Makefile", "Dockerfile", "docker-compose.yml"):
        shutil.copy(REPO / name, tmp_path)
    docker = tmp_path / "bin" / "docker"
    docker.parent.mkdir()
    docker.write_text("#!/bin/sh\nprintf 'sha256:'; printf %s \"$5$6\" | sha256sum | cut -d' ' -f1\n")
    docker.chmod(0o755)
    path = f"{docker.parent}{os.pathsep}{os.environ['PATH']}"
    for _ in range(2):   # the second time there is nothing left to pin
        subprocess.run(["make", "pin-images"], cwd=tmp_path, env=os.environ | {"PATH": path}, check=True)
    services = yaml.safe_load((tmp_path / "docker-compose.yml").read_text())["services"]
    images = [service["image"] for service in services.values()]
    images += re.findall(r"^FROM (\S+)", (tmp_path / "Dockerfile").read_text(), re.MULTILINE)
    pinned = {image for image in images if re.fullmatch(r"\w+:[\w.-]+@sha256:[0-9a-f]{64}", image)}
    assert {image.split(":")[0] for image in pinned} == {"postgres", "redis", "python"}
    assert set(images) - pinned == {SERVICES["server"]["image"]}


def test_services_wait_for_what_they_need() -> None:
    for name, service in SERVICES.items():
        for needed, wait in service.get("depends_on", {}).items():
            if needed in ONCE:
                assert wait["condition"] == "service_completed_successfully", (name, needed)
            else:
                assert wait["condition"] == "service_healthy", (name, needed)
                assert "healthcheck" in SERVICES[needed], needed
        assert "healthcheck" in service or name in ONCE or name == "services"
        for volume in service.get("volumes", []):
            assert volume.split(":")[0] in COMPOSE["volumes"], volume


def test_every_setting_is_one_that_prefect_reads() -> None:
    redis = {f"PREFECT_REDIS_MESSAGING_{field.upper()}" for field in RedisMessagingSettings.model_fields}
    for service in OURS:
        for name, value in SERVICES[service]["environment"].items():
            if name.startswith("PREFECT_"):
                assert name in redis or hasattr(prefect.settings, name), name
            if value.startswith("prefect_redis."):
                importlib.import_module(value)


@pytest.mark.parametrize("service", OURS)
def test_every_command_exists_with_its_options(service: str) -> None:
    for program, *words in command_lines(service):
        module = {"tubeflow": "flows.cli", "prefect": "prefect"}[program]
        given = [word.split("=")[0] for word in words if word.startswith("--") and word != "--no-prompt"]
        until = next((i for i, word in enumerate(words) if word.startswith("-") and word != "--no-prompt"), len(words))
        call = [sys.executable, "-m", module, *words[:until], "--help"]
        environment = os.environ | {"COLUMNS": "200"}
        shown = subprocess.run(call, cwd=REPO, env=environment, capture_output=True, text=True, check=True, timeout=60)
        for option in given:
            assert re.search(rf"{option}\b", shown.stdout), f"{' '.join(call)} knows no {option}"


def test_image_has_what_the_package_is_built_from() -> None:
    dockerfile = (REPO / "Dockerfile").read_text()
    sent = {line[1:] for line in (REPO / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    copied = [word for line in re.findall(r"^COPY (.+)", dockerfile, re.MULTILINE) for word in line.split()[:-1]]
    assert set(copied) == sent
    assert all((REPO / name).exists() for name in copied)


@pytest.fixture
def postgres(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """A fresh PostgreSQL on loopback with the compose file's user, password and database; yields its port."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/postgres"))
    programs = found[-1].parent if found else Path(shutil.which("postgres") or "/nowhere/postgres").parent
    if not (programs / "initdb").is_file():
        pytest.skip("needs PostgreSQL's programs (apt-get install postgresql)")
    port = free_port()
    folder = Path(f"/tmp/tubeflow-postgres-{port}")  # a short path that the user `postgres` can reach
    folder.mkdir(mode=0o700)
    as_user = ["runuser", "-u", "postgres", "--"] if os.geteuid() == 0 else []
    if as_user:
        shutil.chown(folder, "postgres", "postgres")
    secret = folder / "password"
    try:
        write = [*as_user, "sh", "-c", f"printf %s {PASSWORDS['POSTGRES_PASSWORD']} > {secret}"]
        subprocess.run(write, check=True)
        make = ["initdb", "-D", str(folder / "data"), "-U", "prefect", "-A", "scram-sha-256", f"--pwfile={secret}"]
        subprocess.run([*as_user, str(programs / make[0]), *make[1:]], check=True, capture_output=True, timeout=120)
        serve = [str(programs / "postgres"), "-D", str(folder / "data"), "-p", str(port), "-k", str(folder)]
        with background([*as_user, *serve, "-c", "listen_addresses=127.0.0.1"], folder / "postgres.log"):
            login = f"postgresql://prefect:{PASSWORDS['POSTGRES_PASSWORD']}@127.0.0.1:{port}/postgres"
            wait_for([str(programs / "psql"), login, "-c", "create database prefect"])
            yield port
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def redis_port(tmp_path: Path) -> Iterator[int]:
    """A fresh Redis on loopback, started as the compose file says, password and confinement included."""
    if shutil.which("redis-server") is None:
        pytest.skip("needs redis-server (apt-get install redis-server)")
    port = free_port()
    *shell, script = (filled(word) for word in SERVICES["redis"]["command"])
    here = f"--port {port} --bind 127.0.0.1 --dir {tmp_path} <<"
    environment = {name: filled(value) for name, value in SERVICES["redis"]["environment"].items()}
    with background([*confinement(), *shell, script.replace("<<", here)], tmp_path / "redis.log", environment):
        wait_for(["sh", "-c", redis_health(port)], environment)
        yield port


def redis_health(port: int) -> str:
    return str(SERVICES["redis"]["healthcheck"]["test"][1]).replace("redis-cli", f"redis-cli -p {port}")


def confinement() -> list[str]:
    """What is put before a command so that it runs as confined as in a container; nothing where we may not do that."""
    tried = subprocess.run([*CONFINED, "true"], capture_output=True, text=True, check=False)
    if tried.returncode != 0:
        warnings.warn(f"the services run unconfined: {tried.stderr.strip()}", stacklevel=2)
        return []
    return CONFINED


def test_redis_wants_its_password(redis_port: int) -> None:
    outside = {"PATH": os.environ["PATH"]}
    healthy = ["sh", "-c", redis_health(redis_port)]
    assert subprocess.run(healthy, env=outside, check=False).returncode != 0
    asking = ["redis-cli", "-p", str(redis_port), "keys", "*"]
    refused = subprocess.run(asking, env=outside, capture_output=True, text=True, check=False)
    assert "NOAUTH" in refused.stdout
    for process in psutil.process_iter(["cmdline"]):
        assert PASSWORDS["REDIS_PASSWORD"] not in " ".join(process.info["cmdline"] or ())


@contextlib.contextmanager
def background(words: list[str], log: Path, environment: dict[str, str] | None = None) -> Iterator[None]:
    with log.open("w") as output:
        environment = os.environ | (environment or {})
        silent = {"stdin": subprocess.DEVNULL, "stdout": output, "stderr": subprocess.STDOUT}
        process = psutil.Popen(words, env=environment, **silent)
        try:
            yield
        finally:
            end(process)


def wait_for(words: list[str], environment: dict[str, str] | None = None, seconds: float = 60) -> None:
    """Repeat a command until it succeeds. Raises AssertionError with its last words."""
    limit, environment = time.monotonic() + seconds, os.environ | (environment or {})
    run = functools.partial(subprocess.run, words, env=environment, capture_output=True, text=True, check=False)
    while (result := run()).returncode != 0:
        assert time.monotonic() < limit, result.stdout + result.stderr
        time.sleep(0.2)


@pytest.mark.slow
def test_the_stack_runs_on_postgresql_and_redis(tmp_path: Path, postgres: int, redis_port: int) -> None:
    """Every service's own command and environment, with host names and ports of this machine put in."""
    from tests.e2e.test_prefect_server import CLIPS, SMALL, run_deployment, succeed

    port = free_port()
    url = f"http://127.0.0.1:{port}/api"
    here = {
        "@postgres:5432": f"@127.0.0.1:{postgres}",
        "@redis:6379": f"@127.0.0.1:{redis_port}",
        "http://server:4200/api": url,
        "http://127.0.0.1:4200/api": url,
    }
    home = {"PREFECT_HOME": str(tmp_path / "home"), "HOME": str(tmp_path / "home")}
    home |= {"TUBEFLOW_WORKSPACE": str(tmp_path / "workspace"), "PREFECT_SERVER_ANALYTICS_ENABLED": "false"}
    home |= {"DO_NOT_TRACK": "1", "PREFECT_WORKER_QUERY_SECONDS": "1"}
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("PREFECT_")}

    def stack(service: str) -> PrefectServer:
        values = dict(SERVICES[service]["environment"])
        for name, value in values.items():
            value = filled(value)
            for there, mine in here.items():
                value = value.replace(there, mine)
            values[name] = {"PREFECT_REDIS_MESSAGING_HOST": "127.0.0.1"}.get(name, value)
        if "PREFECT_REDIS_MESSAGING_PORT" in values:
            values["PREFECT_REDIS_MESSAGING_PORT"] = str(redis_port)
        return PrefectServer(url, tmp_path, inherited | home | values)

    def words(service: str) -> list[str]:
        replaced = {"0.0.0.0": "127.0.0.1", "4200": str(port)}
        return [replaced.get(word, word) for word in SERVICES[service]["command"] if word != "--with-healthcheck"]

    def started(service: str) -> contextlib.AbstractContextManager[psutil.Popen]:
        return running(service, words(service), stack(service).environment, tmp_path, confinement())

    succeed(stack("migrate").command(*words("migrate")))
    with started("server") as server, started("services") as services:
        wait_until_healthy(server, url, tmp_path / "server.log")
        assert httpx.post(f"{url}/flow_runs/filter", json={}).status_code == httpx.codes.UNAUTHORIZED
        client = stack("setup")
        succeed(client.command("flows.cli", "setup", "--gpu-slots", client.environment["TUBEFLOW_GPU_SLOTS"]))
        succeed(client.command("prefect", "--no-prompt", "deploy", "--all"))
        with started("worker"):
            run = run_deployment(client, "pipeline/demo", overrides=SMALL, options=CLIPS)
        for name, process in {"server": server, "services": services}.items():
            family = [process, *process.children(recursive=True)]
            used = sum(member.memory_info().rss for member in family)
            assert used < 0.8 * size(SERVICES[name]["mem_limit"]), f"{name} takes {used / 2**20:.0f} MiB"
    logs = "".join((tmp_path / f"{name}.log").read_text() for name in ("server", "services", "worker"))
    assert run.record["state_name"] == "Completed", logs
    assert len(run.tasks) == 11
    counted = f"postgresql://prefect:{PASSWORDS['POSTGRES_PASSWORD']}@127.0.0.1:{postgres}/prefect"
    rows = subprocess.run(
        ["psql", counted, "-At", "-c", "select count(*) from task_run"], capture_output=True, text=True, check=True
    )
    assert int(rows.stdout) == 11
    authenticated = os.environ | {"REDISCLI_AUTH": PASSWORDS["REDIS_PASSWORD"]}
    counting = ["redis-cli", "-p", str(redis_port), "dbsize"]
    keys = subprocess.run(counting, env=authenticated, capture_output=True, text=True, check=True)
    assert int(keys.stdout.split()[-1]) > 0
