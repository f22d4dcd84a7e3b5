"""Registries of pip, apt and npm on a loopback server, which the real clients are sent to by their own settings."""

import hashlib
import json
import os
import shutil
import subprocess
from email.utils import formatdate
from pathlib import Path

import pytest

from data_catalog.synthetic.registries import PackageFile
from tests.support.package_archives import wheel
from tests.support.weight_server import Rule, Server


def seen(package: str, version: str, file: str, content: bytes) -> PackageFile:
    """What a list of materials knows of a package whose content was this."""
    return PackageFile(package, version, file, len(content), hashlib.sha256(content).hexdigest())


class Registries:
    """One server, and the clients' settings: nobody else's index, proxy or cache counts."""

    def __init__(self, server: Server, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.server, self.folder = server, folder
        settings = {
            "no_proxy": "127.0.0.1", "PIP_INDEX_URL": f"{server.url}/simple", "PIP_CONFIG_FILE": os.devnull,
            "PIP_RETRIES": "0", "PIP_NO_CACHE_DIR": "1", "npm_config_registry": server.url,
            "npm_config_cache": str(folder / "npm"), "npm_config_fetch_retries": "0",
            "npm_config_userconfig": os.devnull, "npm_config_update_notifier": "false",
            "APT_CONFIG": str(folder / "apt.conf"),
        }  # fmt: skip
        for name in [name for name in os.environ if name.startswith("PIP_")]:
            monkeypatch.delenv(name)
        for name, value in settings.items():
            monkeypatch.setenv(name, value)

    def pip(self, package: str, version: str, files: dict[str, bytes], tags: str = "py3-none-any") -> PackageFile:
        """Publish a wheel with these files, for the Pythons and platforms of `tags`."""
        name = package.replace("-", "_")
        inside = f"{name}-{version}.dist-info"
        content = wheel({
            **files, f"{inside}/WHEEL": b"Wheel-Version: 1.0\nRoot-Is-Purelib: true\n",
            f"{inside}/METADATA": f"Metadata-Version: 2.1\nName: {package}\nVersion: {version}\n".encode(),
        })  # fmt: skip
        file = f"{name}-{version}-{tags}.whl"
        self.server.rules[f"/files/{file}"] = Rule(content)
        link = f'<!DOCTYPE html><a href="/files/{file}" data-requires-python="&gt;=3.5">{file}</a>'.encode()
        self.server.rules[f"/simple/{package}/"] = Rule(link, content_type="text/html")
        return seen(package, version, file, content)

    def npm(self, package: str, version: str, content: bytes) -> PackageFile:
        """Publish a tarball."""
        if shutil.which("npm") is None:
            pytest.skip("this machine has no npm")
        file = f"{package}-{version}.tgz"
        self.server.rules[f"/{package}/-/{file}"] = Rule(content)
        about = {"name": package, "version": version, "dist": {"tarball": f"{self.server.url}/{package}/-/{file}"}}
        page = {"name": package, "dist-tags": {"latest": version}, "versions": {version: about}}
        self.server.rules[f"/{package}"] = Rule(json.dumps(page).encode(), content_type="application/json")
        return seen(package, version, file, content)

    def apt(self, package: str, version: str, content: bytes) -> PackageFile:
        """Publish a .deb as all that the repository has, and read its lists as `apt-get update` does."""
        if shutil.which("apt-get") is None:
            pytest.skip("this machine has no apt-get")
        file = f"{package}_{version.split(':')[-1]}_all.deb"
        self.server.rules[f"/apt/./{file}"] = Rule(content)
        entry = (
            f"Package: {package}\nVersion: {version}\nArchitecture: all\nMaintainer: nobody\nDescription: a test\n"
            f"Filename: ./{file}\nSize: {len(content)}\nSHA256: {hashlib.sha256(content).hexdigest()}\n\n"
        )
        packages = entry.encode()
        self.server.rules["/apt/./Packages"] = Rule(packages)
        digest = hashlib.sha256(packages).hexdigest()
        release = f"Date: {formatdate(usegmt=True)}\nSHA256:\n {digest} {len(packages)} Packages\n"
        self.server.rules |= {"/apt/./Release": Rule(release.encode()), "/apt/./InRelease": Rule(status=404)}
        self.server.rules["/apt/./Release.gpg"] = Rule(status=404)
        state = self.folder / "apt"
        for name in ("lists/partial", "cache/archives/partial", "etc"):
            (state / name).mkdir(parents=True, exist_ok=True)
        (state / "status").touch()
        (state / "sources.list").write_text(f"deb [trusted=yes] {self.server.url}/apt ./\n")
        (self.folder / "apt.conf").write_text(
            f'Dir::State "{state}"; Dir::State::Lists "{state}/lists"; Dir::State::status "{state}/status";\n'
            f'Dir::Cache "{state}/cache"; Dir::Etc "{state}/etc"; Dir::Etc::SourceList "{state}/sources.list";\n'
            'Acquire::Languages "none"; Acquire::Retries "0"; APT::Sandbox::User "";\n'
        )
        subprocess.run(["apt-get", "update"], check=True, capture_output=True)
        return seen(package, version, file, content)
