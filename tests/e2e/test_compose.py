"""docker-compose.yml without Docker: all that it names exists, and its commands run on a real database and Redis."""

from __future__ import annotations

import contextlib
import importlib
import os
import re
import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

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
PASSWORD = "not-a-secret"


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
    """A fresh PostgreSQL on loopback, as the compose file's: user, password and database `prefect`. Gives its port."""
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
        write = [*as_user, "sh", "-c", f"printf %s {PASSWORD} > {secret}"]
        subprocess.run(write, check=True)
        make = ["initdb", "-D", str(folder / "data"), "-U", "prefect", "-A", "scram-sha-256", f"--pwfile={secret}"]
        subprocess.run([*as_user, str(programs / make[0]), *make[1:]], check=True, capture_output=True, timeout=120)
        serve = [str(programs / "postgres"), "-D", str(folder / "data"), "-p", str(port), "-k", str(folder)]
        with background([*as_user, *serve, "-c", "listen_addresses=127.0.0.1"], folder / "postgres.log"):
            login = f"postgresql://prefect:{PASSWORD}@127.0.0.1:{port}/postgres"
            wait_for([str(programs / "psql"), login, "-c", "create database prefect"])
            yield port
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def redis_port(tmp_path: Path) -> Iterator[int]:
    """A fresh Redis on loopback."""
    if shutil.which("redis-server") is None:
        pytest.skip("needs redis-server (apt-get install redis-server)")
    port = free_port()
    words = [*SERVICES["redis"]["command"], "--port", str(port), "--bind", "127.0.0.1", "--dir", str(tmp_path)]
    with background(words, tmp_path / "redis.log"):
        wait_for(["redis-cli", "-p", str(port), "ping"])
        yield port


@contextlib.contextmanager
def background(words: list[str], log: Path) -> Iterator[None]:
    with log.open("w") as output:
        process = psutil.Popen(words, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT)
        try:
            yield
        finally:
            end(process)


def wait_for(words: list[str], seconds: float = 60) -> None:
    """Repeat a command until it succeeds. Raises AssertionError with its last words."""
    limit = time.monotonic() + seconds
    while (result := subprocess.run(words, capture_output=True, text=True, check=False)).returncode != 0:
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
        "redis://redis:6379": f"redis://127.0.0.1:{redis_port}",
        "http://server:4200/api": url,
        "http://127.0.0.1:4200/api": url,
        "${POSTGRES_PASSWORD:?choose one and export it}": PASSWORD,
        "${TUBEFLOW_GPU_SLOTS:-1}": "1",
    }
    home = {"PREFECT_HOME": str(tmp_path / "home"), "TUBEFLOW_WORKSPACE": str(tmp_path / "workspace")}
    home |= {"PREFECT_SERVER_ANALYTICS_ENABLED": "false", "DO_NOT_TRACK": "1", "PREFECT_WORKER_QUERY_SECONDS": "1"}
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("PREFECT_")}

    def stack(service: str) -> PrefectServer:
        values = dict(SERVICES[service]["environment"])
        for name, value in values.items():
            for there, mine in here.items():
                value = value.replace(there, mine)
            values[name] = {"PREFECT_REDIS_MESSAGING_HOST": "127.0.0.1"}.get(name, value)
        if "PREFECT_REDIS_MESSAGING_PORT" in values:
            values["PREFECT_REDIS_MESSAGING_PORT"] = str(redis_port)
        return PrefectServer(url, tmp_path, inherited | home | values)

    def words(service: str) -> list[str]:
        replaced = {"0.0.0.0": "127.0.0.1", "4200": str(port)}
        return [replaced.get(word, word) for word in SERVICES[service]["command"] if word != "--with-healthcheck"]

    succeed(stack("migrate").command(*words("migrate")))
    with (
        running("server", words("server"), stack("server").environment, tmp_path) as server,
        running("services", words("services"), stack("services").environment, tmp_path),
    ):
        wait_until_healthy(server, url, tmp_path / "server.log")
        client = stack("setup")
        succeed(client.command("flows.cli", "setup", "--gpu-slots", client.environment["TUBEFLOW_GPU_SLOTS"]))
        succeed(client.command("prefect", "--no-prompt", "deploy", "--all"))
        with running("worker", words("worker"), stack("worker").environment, tmp_path):
            run = run_deployment(client, "pipeline/demo", overrides=SMALL, options=CLIPS)
    logs = "".join((tmp_path / f"{name}.log").read_text() for name in ("server", "services", "worker"))
    assert run.record["state_name"] == "Completed", logs
    assert len(run.tasks) == 11
    counted = f"postgresql://prefect:{PASSWORD}@127.0.0.1:{postgres}/prefect"
    rows = subprocess.run(
        ["psql", counted, "-At", "-c", "select count(*) from task_run"], capture_output=True, text=True, check=True
    )
    assert int(rows.stdout) == 11
    keys = subprocess.run(["redis-cli", "-p", str(redis_port), "dbsize"], capture_output=True, text=True, check=True)
    assert int(keys.stdout.split()[-1]) > 0
