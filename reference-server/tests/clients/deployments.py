#!/usr/bin/env python3
"""Lets Claude Code reach `wst` as it is deployed: at `https://ID.mcp.HOST/mcp?token=…`, with a wildcard certificate, directly and behind proxies.

    python3 reference-server/tests/clients/deployments.py --wst PATH_TO_WST_BINARY [--cache DIR]

The proxies run with the files of `reference-server/deploy`, in which only the places of files are put in.
All of it runs in a namespace that has nothing but loopback and hosts of its own. What cannot be had is reported as skipped.
"""

import argparse
import json
import signal
import sys
import tempfile
from pathlib import Path

import deployment_checks
import install
import namespace
import process
from run import PROJECT, have

CHECKS_SECONDS = 300


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
        print(f"skip deployments (skipped: {why})\n0 passed, 0 failed, 1 skipped")
        return
    client = have("claude-code", install.claude_code, options.cache.resolve())
    with tempfile.TemporaryDirectory() as folder:
        hosts = Path(folder, "hosts")
        hosts.write_text("127.0.0.1 localhost\n")
        inside = [sys.executable, deployment_checks.__file__, "--wst", wst, "--client", json.dumps(client), "--hosts", hosts]
        child = process.start(namespace.command(inside, hosts), stdout=None, stderr=None)
        try:
            sys.exit(child.wait(CHECKS_SECONDS))
        finally:
            process.stop(child, grace=20)


if __name__ == "__main__":
    main()
