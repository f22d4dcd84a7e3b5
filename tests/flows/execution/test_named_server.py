"""Whether a server can be named is told without Prefect, and never otherwise than Prefect would."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from flows.execution.server import named_server

URL = "http://127.0.0.1:4299/api"
PROFILE = f'active = "lab"\n[profiles.lab]\nPREFECT_API_URL = "{URL}"\n'
OTHER = 'active = "lab"\n[profiles.lab]\nPREFECT_LOGGING_LEVEL = "DEBUG"\n'
WAYS: dict[str, tuple[dict[str, str], dict[str, str], bool]] = {
    "nothing": ({}, {}, False),
    "variable": ({}, {"PREFECT_API_URL": URL}, True),
    "empty variable": ({}, {"PREFECT_API_URL": ""}, False),
    "variable in small letters": ({}, {"prefect_api_url": URL}, True),
    "profile": ({"home/profiles.toml": PROFILE}, {}, True),
    "profile elsewhere": ({"mine.toml": PROFILE}, {"PREFECT_PROFILES_PATH": "mine.toml"}, True),
    "profile about something else": ({"home/profiles.toml": OTHER}, {}, False),
    "prefect.toml": ({"prefect.toml": f'[api]\nurl = "{URL}"\n'}, {}, True),
    "pyproject": ({"pyproject.toml": f'[tool.prefect.api]\nurl = "{URL}"\n'}, {}, True),
    "pyproject, one table in another": ({"pyproject.toml": f'[tool]\nprefect.api.url = "{URL}"\n'}, {}, True),
    "pyproject that needs Prefect": ({"pyproject.toml": '[project]\ndependencies = ["prefect>=3"]\n'}, {}, False),
    ".env": ({".env": f"PREFECT_API_URL={URL}\n"}, {}, True),
    ".env with a profile": ({".env": "PREFECT_PROFILES_PATH=mine.toml\n", "mine.toml": PROFILE}, {}, True),
    ".env about something else": ({".env": "TOKEN=1\n"}, {}, False),
}
"""Files of the folder, variables, and whether a server is named; `home` is Prefect's."""

PREFECTS_WORD = """
import json, os, sys
from prefect.settings.models.root import Settings
said = {}
for way, (folder, variables) in json.loads(sys.argv[1]).items():
    os.chdir(folder)
    os.environ.update(variables)
    said[way] = bool(Settings().api.url)
    for name in variables:
        del os.environ[name]
print(json.dumps(said))
"""


def clean_environment() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if not name.upper().startswith("PREFECT_")}


def test_every_way_is_told_as_prefect_tells_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "prefect.settings", raising=False)
    for name in set(os.environ) - set(clean_environment()):
        monkeypatch.delenv(name)
    folders, told = {}, {}
    for number, (way, (files, variables, _)) in enumerate(WAYS.items()):
        folder = tmp_path / str(number)
        for name, content in {"home/there": "", **files}.items():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_text(content)
        ours = {"PREFECT_HOME": str(folder / "home"), **variables}
        folders[way] = str(folder), ours
        with monkeypatch.context() as here:
            here.chdir(folder)
            for name, value in ours.items():
                here.setenv(name, value)
            told[way] = named_server._can_be_named()
    asked = [sys.executable, "-c", PREFECTS_WORD, json.dumps(folders)]
    done = subprocess.run(asked, env=clean_environment(), capture_output=True, text=True, check=True)
    assert json.loads(done.stdout) == told == {way: named for way, (*_, named) in WAYS.items()}
