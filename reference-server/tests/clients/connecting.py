"""Clients that are told of a workspace by `wst connect`: each in a home and a project of its own, and how it is asked whether it connects."""

import json
import re
import select
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

import process

LIST_SECONDS = 60
QUIET = {
    "DISABLE_TELEMETRY": "1",
    "DISABLE_AUTOUPDATER": "1",
    "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1",
    "GEMINI_TELEMETRY_ENABLED": "false",
    "OPENCODE_DISABLE_AUTOUPDATE": "1",
    "OPENCODE_DISABLE_LSP_DOWNLOAD": "1",
    "NO_COLOR": "1",
}
COLORS = re.compile(r"\x1b\[[0-9;]*m")


@dataclass
class Standing:
    """What a client says of its connection; `said` is the evidence."""

    connected: bool
    failed: bool
    said: str


class Connecting:
    """A client that has never seen another configuration, in a project that holds nothing else."""

    def __init__(self, program, folder):
        self.program = program
        self.home = Path(folder, "home").resolve()
        self.project = Path(folder, "project").resolve()
        self.scratch = Path(folder, "tmp").resolve()
        for made in (self.home, self.project, self.scratch):
            made.mkdir(parents=True)

    def environment(self, **more):
        scratch = {"TMPDIR": str(self.scratch), "CLAUDE_CODE_TMPDIR": str(self.scratch)}
        return process.clean_environment(self.home, **QUIET, **scratch, **more)

    def trust(self, entry):
        """Says once what a person says when the client asks: that this project and its server may be used."""

    def standing(self, entry, **variables):
        """Has the client connect to its servers, with the `variables`, and returns what became of `entry`."""
        listed = process.run(
            [self.program, "mcp", "list"], timeout=LIST_SECONDS, env=self.environment(**variables), cwd=self.project
        )
        said = COLORS.sub("", listed.output)
        lines = [line for line in said.splitlines() if entry in line]
        return Standing(
            connected=any(self.CONNECTED.search(line) for line in lines),
            failed=any(self.FAILED.search(line) for line in lines),
            said=said,
        )

    def _put(self, path, content):
        path = self.home / path
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)


class ClaudeCode(Connecting):
    key = "claude-code"
    seen_as = "claude"
    CONNECTED = re.compile(r"[✓✔] Connected")
    FAILED = re.compile(r"Failed to connect|Needs authentication")

    def trust(self, entry):
        approval = {"enabledMcpjsonServers": [entry], "hasTrustDialogAccepted": True}
        settings = {"hasCompletedOnboarding": True, "projects": {str(self.project): approval}}
        self._put(".claude.json", json.dumps(settings))


class Gemini(Connecting):
    key = "gemini"
    # What its `mcp list` calls itself.
    seen_as = "mcp-test-client"
    CONNECTED = re.compile(r"✓ .*- Connected")
    FAILED = re.compile(r"✗ .*- Disconnected")

    def trust(self, entry):
        self._put(".gemini/trustedFolders.json", json.dumps({str(self.project): "TRUST_FOLDER"}))


class OpenCode(Connecting):
    key = "opencode"
    seen_as = "opencode"
    CONNECTED = re.compile(r"✓ .*connected")
    FAILED = re.compile(r"✗ .*failed")


class Codex(Connecting):
    """Its `mcp list` reads the file and connects to nobody, so a thread is started in its app server, which does."""

    key = "codex"
    seen_as = "codex"

    def trust(self, entry):
        self._put(".codex/config.toml", f'[projects."{self.project}"]\ntrust_level = "trusted"\n')

    def standing(self, entry, **variables):
        child = process.start(
            [self.program, "app-server"],
            env=self.environment(**variables),
            cwd=self.project,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )
        try:
            return self._ask(child, entry)
        finally:
            process.stop(child)
            child.stdin.close()
            child.stdout.close()

    def _ask(self, child, entry):
        for message in (
            {"id": 1, "method": "initialize", "params": {"clientInfo": {"name": "check", "version": "1"}}},
            {"method": "initialized"},
            {"id": 2, "method": "thread/start", "params": {"cwd": str(self.project)}},
        ):
            child.stdin.write(json.dumps(message).encode() + b"\n")
        child.stdin.flush()
        said = []
        for message in messages(child, LIST_SECONDS):
            about = message.get("params", {})
            if message.get("method") != "mcpServer/startupStatus/updated" or about.get("name") != entry:
                continue
            said.append(f"{about['status']}: {about.get('error')}")
            if about["status"] in ("ready", "failed"):
                break
        last = said[-1] if said else "it said nothing of the server"
        return Standing(connected=last.startswith("ready"), failed=last.startswith("failed"), said="\n".join(said) or last)


def messages(child, seconds):
    """Yields the JSON lines that a child prints, until it ends or the time is over."""
    deadline = time.monotonic() + seconds
    rest = b""
    while (left := deadline - time.monotonic()) > 0 and select.select([child.stdout], [], [], left)[0]:
        part = child.stdout.read1(65536)
        if not part:
            return
        *lines, rest = (rest + part).split(b"\n")
        for line in lines:
            if line.startswith(b"{"):
                yield json.loads(line)
