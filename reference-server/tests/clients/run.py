#!/usr/bin/env python3
"""Lets real MCP clients, installed from their registries, work against a real `wst serve`.

    python3 reference-server/tests/clients/run.py --wst PATH_TO_WST_BINARY [--cache DIR]

The clients are installed with the network that is there; then they and the server run together in a namespace that has
nothing but loopback. A client that cannot be had, or a machine without namespaces, is reported as skipped, never as passed.
"""

import argparse
import json
import signal
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path

import checks
import install
import namespace
import process

CHECKS_SECONDS = 840
INSTALLERS = {
    "claude-code": install.claude_code,
    "gemini": install.gemini,
    "codex": install.codex,
    "opencode": install.opencode,
    "python-mcp": install.python_client,
    "typescript-sdk": install.typescript_client,
    "inspector": install.inspector,
}
PROJECT = Path(__file__).resolve().parents[3]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--wst", required=True, type=Path, help="the server's binary")
    parser.add_argument("--cache", type=Path, default=PROJECT / "target/clients", help="where the clients are installed")
    options = parser.parse_args()
    # An exception, so that the namespace is left in order when somebody ends this run.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("stopped from outside"))
    wst = options.wst.resolve()
    if not wst.is_file():
        parser.error(f"no server at {wst}")
    why = namespace.why_unavailable()
    if why:
        sys.exit(checks.run_checks(wst, {name: {"skipped": why} for name in INSTALLERS}))
    clients = {name: have(name, installer, options.cache.resolve()) for name, installer in INSTALLERS.items()}
    sys.exit(run_inside(wst, clients))


def have(name, installer, cache):
    """Installs one client and returns where it is, or why it is not there."""
    try:
        client = installer(cache)
    except install.Unavailable as reason:
        return {"skipped": str(reason)}
    except Exception as error:
        return {"failed": f"could not be installed: {error}"}
    print(f"{name} {client.version}", flush=True)
    return asdict(client)


def run_inside(wst, clients):
    argv = [sys.executable, Path(checks.__file__), "--wst", wst, "--clients", json.dumps(clients)]
    child = process.start(namespace.command(argv), stdout=None, stderr=None)
    try:
        return child.wait(CHECKS_SECONDS)
    except subprocess.TimeoutExpired:
        return 1
    finally:
        process.stop(child, grace=20)


if __name__ == "__main__":
    main()
