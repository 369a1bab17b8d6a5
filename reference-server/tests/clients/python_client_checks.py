"""What must hold for the Python SDK's client in both eras: it works, and a rotation ends what is open and what comes after."""

import itertools
import time
from pathlib import Path

from program_client import ProgramClient, error_of
from proxy import Proxy
from report import expect
from sentences import NAMES, mistakes

PROGRAM = Path(__file__).with_name("python_program.py")

MODERN_VERSION = "2026-07-28"
TOOLS = {"createTask", "getTask", "getWorkspace", "reply"}


class PythonClientChecks:
    """The checks, each with a workspace and a client of its own."""

    def __init__(self, python, server, folder):
        self.python = python
        self.server = server
        self.folders = (folder / f"python-mcp-{number}" for number in itertools.count(1))

    def all(self):
        # "auto" is the SDK's default and takes the modern era where the server has it.
        for label, mode in (("legacy", "legacy"), ("modern", "auto")):
            yield f"{label}: connects, lists tools, creates and reads a task", self.works, mode
            yield f"{label}: rotation in mid-stream", self.rotation_in_mid_stream, mode
            for name in NAMES:
                # Its HTTP library refuses to send a header that ends with a space.
                if name != "empty token":
                    yield f"{label}: prints what to do: {name}", self.prints_what_to_do, mode, name

    def client(self):
        return ProgramClient([self.python, PROGRAM], next(self.folders))

    def works(self, mode):
        workspace = self.server.create_workspace("python")
        with Proxy(self.server.url) as proxy, self.client() as client:
            version = client.connect(proxy.address_of(workspace.mcp_url), workspace.secret, mode)
            expect((version >= MODERN_VERSION) == (mode == "auto"), f"{mode} agreed on {version}", proxy)
            tools = client.list_tools()
            expect(TOOLS <= set(tools), f"the tools are there, not {tools}", proxy)
            created = client.call("createTask", title="Check the client", body="Made by the Python client.")
            task = created.removeprefix("task created with id=")
            expect(task and task != created, f"a task was created, not {created!r}", proxy)
            read = client.call("getTask", taskId=task)
            expect(task in read and "Made by the Python client." in read, f"the task was read, not {read!r}", proxy)
            client.do("disconnect")

    def rotation_in_mid_stream(self, mode):
        workspace = self.server.create_workspace("python")
        with Proxy(self.server.url) as proxy, self.client() as client:
            url = proxy.address_of(workspace.mcp_url)
            client.connect(url, workspace.secret, mode)
            open_exchanges = []
            if mode == "legacy":
                stream = proxy.wait_for(lambda exchange: exchange.method == "GET" and exchange.status == 200, timeout=10)
                expect(stream, "the client opened its standalone stream", proxy)
                open_exchanges.append(stream)
            client.begin_call("getTask", waitSeconds=30)
            call = proxy.wait_for(lambda exchange: exchange.tool == "getTask", timeout=10)
            expect(call, "the client sent its call", proxy)
            open_exchanges.append(call)
            time.sleep(0.5)  # the proxy saw the call; let the server take it up
            expect(not any(exchange.ended for exchange in open_exchanges), "call and stream stay open", proxy)

            receipt = workspace.rotate()
            rotated = time.monotonic()
            interrupted = error_of(client.answer, 10)
            expect(interrupted, "the open call ended with an error", proxy)
            expect(time.monotonic() - rotated < 5, "the open call ended quickly", interrupted, proxy)
            for exchange in open_exchanges:
                ended = proxy.wait_for(lambda seen, exchange=exchange: seen is exchange and seen.ended, timeout=5)
                expect(ended and ended.ended - rotated < 2, f"{exchange.method} ended with the rotation", proxy)
            if mode == "legacy":
                expect(receipt["sessions_ended"] == 1, f"the receipt counts the session, not {receipt['sessions_ended']}", proxy)
                expect(receipt["streams_severed"] >= 1, "the receipt counts what was open", proxy)

            refused = error_of(lambda: client.call("getWorkspace"))
            statuses = [call.status for call in proxy.calls("getWorkspace")]
            expect(refused and statuses == [401], f"the next call got 401, not {statuses}", refused, proxy)
            client.connect(url, workspace.secret, mode)
            described = client.call("getWorkspace")
            expect("Workspace:" in described, f"the new token works, not {described!r}", proxy)
            client.do("disconnect")

    def prints_what_to_do(self, mode, name):
        mistake = mistakes(self.server)[name]
        with self.client() as client:
            printed = error_of(client.connect, mistake.url, mistake.token, mode)
            expect(printed and mistake.sentence in printed, f"the error is the sentence, not {printed!r}")
