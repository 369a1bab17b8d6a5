"""The part that runs inside the namespace: one server, every check of every client that is there, and the counts."""

import argparse
import json
import signal
import sys
import tempfile
from contextlib import ExitStack
from functools import partial
from pathlib import Path

import connecting
import wst
from claude_code_checks import ClaudeCodeChecks
from connect_checks import ConnectChecks
from inspector_checks import InspectorChecks
from python_client_checks import PythonClientChecks
from report import Report
from typescript_client_checks import TypeScriptClientChecks

CHECKS = [
    ("claude-code", ClaudeCodeChecks),
    ("python-mcp", PythonClientChecks),
    ("typescript-sdk", TypeScriptClientChecks),
    ("inspector", InspectorChecks),
    ("claude-code", partial(ConnectChecks, connecting.ClaudeCode)),
    ("gemini", partial(ConnectChecks, connecting.Gemini)),
    ("codex", partial(ConnectChecks, connecting.Codex)),
    ("opencode", partial(ConnectChecks, connecting.OpenCode)),
]


def run_checks(binary, clients):
    """Runs all checks and returns the exit code; `clients` tells for each client its program, or why it is not there."""
    with Report() as report, ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        server = None
        if any("program" in client for client in clients.values()):
            server = stack.enter_context(wst.Server(binary, folder / "server"))
        for client_name, checks in CHECKS:
            client = clients[client_name]
            for name, *call in checks(client.get("program"), server, folder).all():
                name = f"{client_name}: {name}"
                if "program" in client:
                    report.check(name, *call)
                elif "skipped" in client:
                    report.skip(name, client["skipped"])
                else:
                    report.fail(name, client["failed"])
    return 1 if report.failed else 0


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--wst", required=True)
    parser.add_argument("--clients", required=True, type=json.loads)
    options = parser.parse_args()
    # An exception, so that every child is stopped on the way out.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("stopped from outside"))
    sys.exit(run_checks(options.wst, options.clients))


if __name__ == "__main__":
    main()
