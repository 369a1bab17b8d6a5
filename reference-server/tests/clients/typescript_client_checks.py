"""What must hold for the TypeScript SDK's client: it works, and an ended token or session is told, not worked around."""

import itertools
import time
from pathlib import Path

from program_client import ProgramClient, error_of
from proxy import Proxy
from report import expect
from sentences import NAMES, as_json, mistakes

PROGRAM = Path(__file__).with_name("typescript_program.mjs")
TOOLS = {"createTask", "getTask", "getWorkspace", "reply"}
LEGACY_VERSION = "2025-11-25"


class TypeScriptClientChecks:
    """The checks, each with a workspace and a client of its own. `program` is Node and the folder of the SDK."""

    def __init__(self, program, server, folder):
        self.program = program
        self.server = server
        self.folders = (folder / f"typescript-{number}" for number in itertools.count(1))

    def all(self):
        yield "connects, lists tools, calls one", self.works
        yield "after a rotation 401 until it has the new token", self.rotation
        yield "rotation during a call is an error", self.rotation_during_a_call
        yield "a 404 of its session is told, and connecting again helps", self.lost_session
        for name in NAMES:
            yield f"prints what to do: {name}", self.prints_what_to_do, name

    def client(self):
        node, sdk = self.program
        return ProgramClient([node, PROGRAM, sdk], next(self.folders))

    def works(self):
        workspace = self.server.create_workspace("typescript")
        with self.client() as client:
            version = client.connect(workspace.mcp_url, workspace.secret)
            expect(version == LEGACY_VERSION, f"it agreed on {LEGACY_VERSION}, not {version}")
            tools = client.list_tools()
            expect(TOOLS <= set(tools), f"the tools are there, not {tools}")
            created = client.call("createTask", title="Check the client", body="Made in TypeScript.")
            expect(created.startswith("task created with id="), f"a task was created, not {created!r}")
            client.do("disconnect")

    def rotation(self):
        workspace = self.server.create_workspace("typescript")
        with Proxy(self.server.url) as proxy, self.client() as client:
            url = proxy.address_of(workspace.mcp_url)
            client.connect(url, workspace.secret)
            stream = proxy.wait_for(lambda exchange: exchange.method == "GET" and exchange.status == 200, timeout=10)
            expect(stream, "the client opened its standalone stream", proxy)
            old = workspace.secret
            receipt = workspace.rotate()
            expect(receipt["sessions_ended"] == 1, f"the receipt counts the session, not {receipt}", proxy)
            ended = proxy.wait_for(lambda seen: seen is stream and seen.ended, timeout=5)
            expect(ended, "the stream ended with the rotation", proxy)
            refused = error_of(client.call, "getWorkspace")
            statuses = [call.status for call in proxy.calls("getWorkspace")]
            expect(refused and statuses == [401], f"the next call got 401, not {statuses}", refused, proxy)
            again = error_of(client.connect, url, old)
            expect(again, "the old token does not connect", proxy)
            client.connect(url, workspace.secret)
            described = client.call("getWorkspace")
            expect("Workspace:" in described, f"the new token works, not {described!r}", proxy)

    def rotation_during_a_call(self):
        workspace = self.server.create_workspace("typescript")
        with Proxy(self.server.url) as proxy, self.client() as client:
            client.connect(proxy.address_of(workspace.mcp_url), workspace.secret)
            client.begin_call("getTask", waitSeconds=30)
            call = proxy.wait_for(lambda exchange: exchange.tool == "getTask", timeout=10)
            expect(call, "the client sent its call", proxy)
            time.sleep(0.5)  # the proxy saw the call; let the server take it up
            workspace.rotate()
            interrupted = error_of(client.answer, 10)
            expect(interrupted and "regenerated" in interrupted, f"the open call was answered, not {interrupted!r}", proxy)

    def lost_session(self):
        workspace = self.server.create_workspace("typescript")
        with Proxy(self.server.url) as proxy, self.client() as client:
            url = proxy.address_of(workspace.mcp_url)
            client.connect(url, workspace.secret)
            first = client.do("session")
            expect(200 <= workspace.end_session(first) < 300, "the session is ended from the side")
            told = error_of(client.call, "getWorkspace")
            expect(told and "Send initialize again" in told, f"the error says what to do, not {told!r}", proxy)
            expect([call.status for call in proxy.calls()] == [404], "the call got 404, and was not made again", proxy)
            client.connect(url, workspace.secret)
            expect(client.do("session") != first, "connecting again opens another session", proxy)
            described = client.call("getWorkspace")
            expect("Workspace:" in described, f"the call works in it, not {described!r}", proxy)

    def prints_what_to_do(self, name):
        mistake = mistakes(self.server)[name]
        with self.client() as client:
            printed = error_of(client.connect, mistake.url, mistake.token)
            expect(printed and as_json(mistake.sentence) in printed, f"the error holds the sentence, not {printed!r}")
