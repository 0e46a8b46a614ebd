"""The site, built once and served on a free port, and a browser to look at it."""

import json
import os
import shutil
import subprocess
import sys
import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from playwright.sync_api import sync_playwright

ROOT = Path(__file__).parents[2]
sys.path += [str(ROOT / "tools"), str(ROOT / "docs" / "hooks")]
BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")


def pytest_addoption(parser):
    parser.addoption("--screenshots", type=Path, help="a folder for pictures of the pages")


class Site:
    """The built pages, as files and at an address."""

    def __init__(self, folder, address):
        self.folder = folder
        self.address = address
        self.files = sorted(folder.rglob("*.html"))

    @property
    def pages(self):
        """The path of each page, "" for the first."""
        folders = [file.parent for file in self.files if file.name == "index.html"]
        return [
            f"{folder.relative_to(self.folder).as_posix()}/".removeprefix("./")
            for folder in folders
        ]


@pytest.fixture(scope="session")
def site(tmp_path_factory):
    """The site as it is deployed: a version in a folder of its own, beside the list of them."""
    root = tmp_path_factory.mktemp("site")
    versions = [{"version": "dev", "title": "dev", "aliases": []}]
    (root / "versions.json").write_text(json.dumps(versions))
    folder = root / "dev"
    build = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", folder]
    subprocess.run([*build, "--config-file", ROOT / "mkdocs.yml"], check=True)
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=root))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield Site(folder, f"http://127.0.0.1:{server.server_port}/dev/")
    server.shutdown()
    server.server_close()


class Quiet(SimpleHTTPRequestHandler):
    """Serves files without a line for each."""

    def log_message(self, *args):
        """Says nothing."""


@pytest.fixture(scope="session")
def browser():
    with sync_playwright() as playwright:
        running = playwright.chromium.launch(executable_path=find_browser(playwright))
        yield running
        running.close()


def find_browser(playwright):
    """The path of a Chromium: $CHROMIUM, one that is installed, or playwright's own."""
    named = [os.environ.get("CHROMIUM"), *map(shutil.which, BROWSERS)]
    candidates = [path for path in (*named, playwright.chromium.executable_path) if path]
    found = next((path for path in candidates if Path(path).is_file()), None)
    if found is None:
        pytest.fail(
            "No Chromium was found: install it (`apt-get install chromium`, or anywhere "
            "`./tools/hatch run site:browser`), or set CHROMIUM to its path.",
            pytrace=False,
        )
    return found
