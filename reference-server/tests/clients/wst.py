"""The server under test, driven only through its command line: `serve` in the background, everything else one command each."""

import http.client
import itertools
import json
import re
import time
import urllib.parse
from pathlib import Path

import process

START_SECONDS = 30
COMMAND_SECONDS = 20


class Server:
    """A running `wst serve`, by default on a free loopback port, with a data directory of its own."""

    def __init__(self, binary, folder, options=("--listen", "127.0.0.1:0")):
        self.binary = binary
        self.numbers = itertools.count(1)
        self.data_dir = Path(folder, "data")
        Path(folder).mkdir(parents=True, exist_ok=True)
        self.environment = process.clean_environment(folder)
        self.log_path = Path(folder, "serve.log")
        with open(self.log_path, "wb") as log:
            self.child = process.start(
                [binary, "serve", "--data-dir", self.data_dir, *options],
                env=self.environment,
                stdout=log,
                stderr=log,
            )

    def __enter__(self):
        try:
            self.url = self._wait_until_listening()
        except BaseException:
            process.stop(self.child)
            raise
        return self

    def __exit__(self, *_):
        process.stop(self.child)

    def _wait_until_listening(self):
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline:
            found = re.search(r"^listening on (https?://127\.0\.0\.1:\d+)\s*$", self.log_path.read_text(errors="replace"), re.M)
            if found:
                return found[1]
            if self.child.poll() is not None:
                break
            time.sleep(0.02)
        raise RuntimeError(f"`wst serve` did not say that it listens:\n{self.log_path.read_text(errors='replace')[-2000:]}")

    def command(self, *words):
        """Runs one command with `--json` and returns what it printed, parsed."""
        finished = process.run(
            [self.binary, "--data-dir", self.data_dir, *words, "--json"], timeout=COMMAND_SECONDS, env=self.environment
        )
        if finished.code != 0:
            raise RuntimeError(f"`wst {' '.join(words)}` ended with {finished.code}: {finished.output[-2000:]}")
        return json.loads(finished.stdout or "{}")

    def create_workspace(self, name):
        """Makes a workspace; a number makes its name its own, since no two may have one."""
        return Workspace(self, self.command("workspace", "create", f"{name}-{next(self.numbers)}"))


class Workspace:
    """One workspace and its current token."""

    def __init__(self, server, created):
        self.server = server
        self.id = created["workspace"]["id"]
        self.secret = created["secret"]
        self.mcp_url = created["mcp_url"]

    def rotate(self):
        """Regenerates the token; when this returns the old one is dead everywhere, and the receipt counts what ended."""
        receipt = self.server.command("token", "rotate", "--workspace", self.id)
        self.secret = receipt["secret"]
        return receipt

    def end_session(self, session_token):
        """Ends one MCP session from the side, as its client could, and returns the status of the answer."""
        url = urllib.parse.urlsplit(self.mcp_url)
        connection = http.client.HTTPConnection(url.netloc, timeout=COMMAND_SECONDS)
        try:
            headers = {"Authorization": f"Bearer {self.secret}", "Mcp-Session-Id": session_token}
            connection.request("DELETE", url.path, headers=headers)
            return connection.getresponse().status
        finally:
            connection.close()
