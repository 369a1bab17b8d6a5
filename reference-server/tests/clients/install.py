"""Installs the real clients, newest versions, from their registries into a cache folder.

An install is used for a day before its registry is asked again.
"""

import json
import platform
import re
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import process

FRESH_SECONDS = 24 * 3600
INSTALL_SECONDS = 300
NODE_NEEDED = 22
UNREACHABLE = re.compile(
    r"EAI_AGAIN|ECONNREFUSED|ECONNRESET|EHOSTUNREACH|ENETUNREACH|ENOTFOUND|ETIMEDOUT|ERR_SOCKET_TIMEOUT|npm error code E5\d\d"
    r"|NewConnectionError|ConnectTimeout|ReadTimeout|ProxyError|NameResolutionError|Max retries exceeded|5\d\d Server Error"
)


class Unavailable(Exception):
    """The client cannot be had here and now, which says nothing about the server under test."""


@dataclass
class Client:
    """An installed client: the program to run, or the words that begin its command line, and its version."""

    program: str | list
    version: str


def claude_code(cache):
    """Installs Claude Code from npm."""
    return from_npm(cache, "claude-code", "@anthropic-ai/claude-code", "claude")


def gemini(cache):
    """Installs Gemini CLI from npm."""
    return from_npm(cache, "gemini", "@google/gemini-cli", "gemini")


def codex(cache):
    """Installs Codex from npm."""
    return from_npm(cache, "codex", "@openai/codex", "codex")


def opencode(cache):
    """Installs opencode from npm."""
    return from_npm(cache, "opencode", "opencode-ai", "opencode")


def from_npm(cache, name, package, program):
    folder = cache / name
    if not fresh(folder):
        # The tag is needed: without it npm picks an old version where Node is older than the newest one asks for,
        # although some of the programs are native binaries that do not use Node.
        install(folder, ["npm", "install", "--prefix", folder, "--no-audit", "--no-fund", "--loglevel=error",
                         "--engine-strict=false", "--ignore-scripts=false", "--fetch-retries=1", f"{package}@latest"])
    manifest = folder / "node_modules" / package / "package.json"
    return Client(str(folder / "node_modules/.bin" / program), json.loads(manifest.read_text())["version"])


def python_client(cache):
    """Installs the official Python SDK from PyPI into a virtual environment of its own."""
    folder = cache / "python-mcp"
    python = folder / "bin/python"
    if not fresh(folder):
        install(folder, [sys.executable, "-m", "venv", "--clear", folder],
                [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--retries=1", "mcp"])
    asked = process.run([python, "-c", "import importlib.metadata as m; print(m.version('mcp'))"], timeout=30)
    return Client(str(python), asked.stdout.strip())


def typescript_client(cache):
    """Installs the official TypeScript SDK from npm; the program is Node and the folder to import it from."""
    sdk = npm_package(cache, "@modelcontextprotocol/sdk")
    return Client([node(cache).program, str(sdk.folder)], sdk.version)


def inspector(cache):
    """Installs the MCP inspector from npm, for its command line."""
    package = npm_package(cache, "@modelcontextprotocol/inspector")
    launcher = json.loads((package.folder / "package.json").read_text())["bin"]["mcp-inspector"]
    return Client([node(cache).program, str(package.folder / launcher)], package.version)


def node(cache):
    """Returns the machine's Node where it is new enough for the newest packages, else one from npm."""
    try:
        found = process.run(["node", "--version"], timeout=30).stdout.strip()
    except FileNotFoundError:
        found = ""
    if re.match(r"v\d+\.", found) and int(found[1:].split(".")[0]) >= NODE_NEEDED:
        return Client("node", found)
    machine = {"x86_64": "x64", "aarch64": "arm64"}.get(platform.machine())
    if sys.platform != "linux" or machine is None:
        raise Unavailable(f"Node {NODE_NEEDED} or newer is not there")
    package = npm_package(cache, f"node-linux-{machine}", "24")
    return Client(str(package.folder / "bin/node"), package.version)


@dataclass
class Package:
    """An installed npm package."""

    folder: Path
    version: str


def npm_package(cache, name, wanted="latest"):
    """Installs `name` from npm into a folder of its own."""
    folder = cache / name.replace("/", "-").lstrip("@")
    if not fresh(folder):
        install(folder, ["npm", "install", "--prefix", folder, "--no-audit", "--no-fund", "--loglevel=error",
                         "--engine-strict=false", "--fetch-retries=1", f"{name}@{wanted}"])
    package = folder / "node_modules" / name
    return Package(package, json.loads((package / "package.json").read_text())["version"])


def fresh(folder):
    stamp = folder / "installed"
    return stamp.exists() and time.time() - stamp.stat().st_mtime < FRESH_SECONDS


def install(folder, *commands):
    folder.mkdir(parents=True, exist_ok=True)
    Path(folder, "installed").unlink(missing_ok=True)
    for command in commands:
        try:
            done = process.run(command, timeout=INSTALL_SECONDS)
        except FileNotFoundError:
            raise Unavailable(f"the command `{command[0]}` is not there") from None
        if done.timed_out:
            raise Unavailable(f"`{Path(command[0]).name}` had not finished after {INSTALL_SECONDS} s")
        if done.code != 0:
            reason = done.output.strip()[-1500:]
            if unreachable := UNREACHABLE.search(done.output):
                raise Unavailable(f"the registry cannot be reached ({unreachable[0]})")
            raise RuntimeError(f"`{Path(command[0]).name}` ended with {done.code}: {reason}")
    Path(folder, "installed").touch()
