"""The part of `deployments.py` that runs inside the namespace: each deployment, and what must hold for all of them."""

import argparse
import contextlib
import http.client
import itertools
import json
import signal
import socket
import sys
import tempfile
import threading
import time
from pathlib import Path

import process
from claude_code import TOOL_PREFIX, VARIABLE, ClaudeCode
from claude_code_checks import NEW_TASK, NOT_CONNECTED, expect_connected
from deployment import DEPLOYMENTS, HOST, Authority
from model_api import LAST_WORDS, ModelApi, ToolCall
from report import Report, expect

CUT_SECONDS = 1
RENEWED_SECONDS = 15


class DeploymentChecks:
    """The checks of one deployment that runs."""

    def __init__(self, deployment, program, authority, hosts, folder):
        self.deployment = deployment
        self.program = program
        self.authority = authority
        self.hosts = hosts
        self.folders = (folder / f"client-{number}" for number in itertools.count(1))
        self.secrets = []

    def all(self):
        """Yields a name, whether it takes Claude Code, and the check."""
        yield "connected at https://ID.mcp.HOST/mcp?token=${VAR}", True, self.connected
        yield "the model's calls go through", True, self.works
        yield "not connected after rotation", True, self.not_connected_after_rotation
        yield f"a rotation cuts an open stream within {CUT_SECONDS} s", False, self.rotation_cuts_a_stream
        if self.deployment.logs:
            yield "a request in the clear is refused", False, self.refused_in_the_clear
            # Last: it takes the server away.
            yield "no log holds a piece of a token, be the server there or not", False, self.logs_hold_no_token
        else:
            yield "a renewed certificate is used by itself, and a stream stays open", False, self.renewed_certificate

    def workspace(self, name):
        workspace = self.deployment.server.create_workspace(name)
        # The file that /etc/hosts is, written in place.
        with open(self.hosts, "a") as hosts:
            hosts.write(f"127.0.0.1 {workspace.id}.mcp.{HOST}\n")
        expect(workspace.mcp_url == f"https://{workspace.id}.mcp.{HOST}/mcp", f"the URL is shown, not {workspace.mcp_url}")
        self.secrets.append(workspace.secret)
        return workspace

    def rotate(self, workspace):
        receipt = workspace.rotate()
        self.secrets.append(workspace.secret)
        return receipt

    def client(self, workspace):
        client = ClaudeCode(self.program, next(self.folders), {"NODE_EXTRA_CA_CERTS": str(self.authority.certificate)})
        client.use_query_form(workspace.mcp_url)
        written = Path(client.project, ".mcp.json").read_text()
        expect(f"https://{workspace.id}.mcp.{HOST}/mcp?token=${{{VARIABLE}}}" in written, "that very URL is configured", written)
        return client

    def connected(self):
        workspace = self.workspace("connected")
        expect_connected(self.client(workspace).mcp_list(workspace.secret))

    def works(self):
        workspace = self.workspace("work")
        client = self.client(workspace)
        with ModelApi(TOOL_PREFIX, [ToolCall("getWorkspace"), ToolCall("createTask", NEW_TASK)]) as model_api:
            finished = client.work(workspace.secret, model_api)
        evidence = (model_api, finished.output[-2000:])
        expect(finished.code == 0 and LAST_WORDS in finished.output, "Claude Code ended as the script does", *evidence)
        expect(len(model_api.shown) == 2 and not any(shown.is_error for shown in model_api.shown), "both calls worked", *evidence)

    def not_connected_after_rotation(self):
        workspace = self.workspace("rotated")
        client = self.client(workspace)
        old = workspace.secret
        self.rotate(workspace)
        listed = client.mcp_list(old)
        expect(NOT_CONNECTED.search(listed.output), "the old token is said to fail", listed.output)
        expect_connected(client.mcp_list(workspace.secret))

    def rotation_cuts_a_stream(self):
        workspace = self.workspace("stream")
        with Stream(workspace, self.authority) as stream:
            expect(not stream.has_ended(within=0.5), "the stream stays open by itself")
            began = time.monotonic()
            receipt = self.rotate(workspace)
            expect(stream.has_ended(within=CUT_SECONDS), "the stream ended")
            expect(time.monotonic() - began < CUT_SECONDS, "the rotation and the end of the stream took no longer")
            expect(receipt["streams_severed"] >= 1, f"the receipt counts it: {receipt['streams_severed']}")
            expect(receipt["sessions_ended"] == 1, f"the receipt counts the session: {receipt['sessions_ended']}")

    def renewed_certificate(self):
        workspace = self.workspace("renewed")
        with Stream(workspace, self.authority) as stream:
            before = self.serial()
            self.authority.issue(self.deployment.tls)
            deadline = time.monotonic() + RENEWED_SECONDS
            while self.serial() == before and time.monotonic() < deadline:
                time.sleep(0.2)
            expect(self.serial() != before, "the new certificate is used")
            expect(not stream.has_ended(within=0.1), "the stream is still open")

    def serial(self):
        connection = http.client.HTTPSConnection(HOST, timeout=5, context=self.authority.context())
        try:
            connection.connect()
            return connection.sock.getpeercert()["serialNumber"]
        finally:
            connection.close()

    def refused_in_the_clear(self):
        workspace = self.workspace("clear")
        connection = http.client.HTTPConnection(f"{workspace.id}.mcp.{HOST}", timeout=5)
        try:
            connection.request("POST", f"/mcp?token={workspace.secret}", body=b"{}")
            status = connection.getresponse().status
        finally:
            connection.close()
        expect(status == 403, f"it is answered with 403, not {status}")

    def logs_hold_no_token(self):
        workspace = self.workspace("logs")
        for referrer in (f"https://{HOST}/?token={workspace.secret}", None):
            headers = {"Referer": referrer} if referrer else {}
            ask(workspace, self.authority, "POST", f"/mcp?token={workspace.secret}", headers, b"{}")
        process.stop(self.deployment.server.child)
        answer = ask(workspace, self.authority, "POST", f"/mcp?token={workspace.secret}", {}, b"{}")
        expect(answer.status == 502, f"without the server the proxy answers 502, not {answer.status}")
        time.sleep(0.5)
        access = self.deployment.log.read_text()
        expect(workspace.id in access and "/mcp" in access and "502" in access, "the requests are in the log", access[-500:])
        pieces = set(itertools.chain.from_iterable(map(pieces_of, self.secrets)))
        for log in (*self.deployment.logs, self.deployment.server.log_path):
            text = log.read_text(errors="replace")
            found = [number for number, line in enumerate(text.splitlines(), 1) if any(piece in line for piece in pieces)]
            expect(not found, f"{log.name} holds a piece of a token in lines {found[:5]}")


class Stream:
    """The event stream of a session that was opened with the token in the query."""

    def __init__(self, workspace, authority):
        target = f"/mcp?token={workspace.secret}"
        headers = {"Accept": "application/json, text/event-stream", "Content-Type": "application/json"}
        parameters = {"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": {"name": "stream", "version": "1"}}
        call = {"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": parameters}
        opened = ask(workspace, authority, "POST", target, headers, json.dumps(call))
        session = opened.headers["Mcp-Session-Id"]
        expect(opened.status == 200 and session, f"a session is opened, not {opened.status}")
        headers = {"Accept": "text/event-stream", "Mcp-Session-Id": session}
        self.connection = connect(workspace, authority)
        self.connection.request("GET", target, headers=headers)
        self.response = self.connection.getresponse()
        expect(self.response.status == 200, f"the stream is opened, not {self.response.status}")

        self.ended = threading.Event()
        self.broken = None
        threading.Thread(target=self._read, daemon=True).start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        with contextlib.suppress(OSError):
            self.connection.sock.shutdown(socket.SHUT_RDWR)
        self.ended.wait(5)
        self.connection.close()

    def has_ended(self, within):
        """Waits for so many seconds, and returns whether the stream came to its end, and to a clean one."""
        ended = self.ended.wait(within)
        expect(not self.broken, f"the stream ends in order, not with {self.broken}")
        return ended

    def _read(self):
        try:
            while self.response.read1(65536):
                pass
        except Exception as error:
            self.broken = error
        self.ended.set()


def connect(workspace, authority):
    return http.client.HTTPSConnection(f"{workspace.id}.mcp.{HOST}", timeout=30, context=authority.context())


def ask(workspace, authority, method, target, headers, body):
    connection = connect(workspace, authority)
    try:
        connection.request(method, target, body=body, headers=headers)
        response = connection.getresponse()
        response.read()
        return response
    finally:
        connection.close()


def pieces_of(secret):
    """Yields every 12 characters of payload and signature; the header is public."""
    _, payload, signature = secret.split(".")
    for part in (payload, signature):
        for start in range(len(part) - 11):
            yield part[start : start + 12]


def run_checks(binary, client, hosts):
    with Report() as report, tempfile.TemporaryDirectory() as folder:
        authority = Authority(Path(folder, "authority"))
        with open(hosts, "a") as written:
            written.write(f"127.0.0.1 {HOST}\n")
        for number, kind in enumerate(DEPLOYMENTS):
            if kind.missing:
                report.skip(kind.name, kind.missing)
                continue
            place = Path(folder, str(number))
            place.mkdir()
            with kind(binary, place, authority) as deployment:
                checks = DeploymentChecks(deployment, client.get("program"), authority, hosts, place)
                for name, takes_client, check in checks.all():
                    name = f"{kind.name}: {name}"
                    if not takes_client or "program" in client:
                        report.check(name, check)
                    elif "skipped" in client:
                        report.skip(name, client["skipped"])
                    else:
                        report.fail(name, client["failed"])
    return 1 if report.failed else 0


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--wst", required=True)
    parser.add_argument("--client", required=True, type=json.loads)
    parser.add_argument("--hosts", required=True)
    options = parser.parse_args()
    # An exception, so that every child is stopped on the way out.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("stopped from outside"))
    sys.exit(run_checks(options.wst, options.client, options.hosts))


if __name__ == "__main__":
    main()
