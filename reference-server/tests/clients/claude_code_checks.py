"""What must hold for Claude Code: it connects in both configuration forms, and a dead session or token does what it should."""

import itertools
import re
import shlex
import threading
import time

from claude_code import TOOL_PREFIX, ClaudeCode
from model_api import LAST_WORDS, ModelApi, ToolCall
from proxy import Proxy
from report import expect
from sentences import NAMES, as_json, mistakes

CONNECTED = re.compile(r"[✓✔] Connected")
NOT_CONNECTED = re.compile(r"Failed to connect|Needs authentication")
# What it prints instead of a sentence of ours, where the URL holds the token, or there is none to be wrong.
INSTEAD = {
    "two credentials": re.compile(r"HTTP 400"),
    "no token": re.compile(r"Send the workspace token as `Authorization: Bearer <token>`"),
}
CLEAR_ERROR = re.compile(r"token|Authorization header|401", re.I)
NEW_TASK = {"title": "Check the client", "body": "Made by a scripted model."}


class ClaudeCodeChecks:
    """The checks, each with a workspace and a client of its own."""

    def __init__(self, program, server, folder):
        self.program = program
        self.server = server
        self.folders = (folder / f"claude-code-{number}" for number in itertools.count(1))

    def all(self):
        yield "connected with the header form", self.connected, ClaudeCode.use_header_form
        yield "connected with the query form", self.connected, ClaudeCode.use_query_form
        yield "not connected after rotation, header form", self.not_connected_after_rotation, ClaudeCode.use_header_form
        yield "not connected after rotation, query form", self.not_connected_after_rotation, ClaudeCode.use_query_form
        yield "legacy: two calls with one session token", self.two_calls_with_one_session_token
        yield "legacy: a 404 leads to a new session unseen by the model", self.lost_session_is_replaced
        for label, mode in (("legacy", "legacy"), ("default mode", None)):
            yield f"{label}: rotation between two calls is a clear error", self.rotation_between_two_calls, mode
            yield f"{label}: rotation during a call is a clear error", self.rotation_during_a_call, mode
            yield f"{label}: with `wst headers` a rotation goes unseen by the model", self.helper_gets_the_new_token, mode
        for name in NAMES:
            yield f"prints what to do: {name}", self.prints_what_to_do, name

    def client(self):
        return ClaudeCode(self.program, next(self.folders))

    def connected(self, use_form):
        workspace = self.server.create_workspace("connected")
        client = self.client()
        use_form(client, workspace.mcp_url)
        expect_connected(client.mcp_list(workspace.secret))

    def not_connected_after_rotation(self, use_form):
        workspace = self.server.create_workspace("rotated")
        client = self.client()
        use_form(client, workspace.mcp_url)
        expect_connected(client.mcp_list(workspace.secret))
        old = workspace.secret
        workspace.rotate()
        listed = client.mcp_list(old)
        # Claude Code ends with 0 even so; the line is all there is.
        expect(NOT_CONNECTED.search(listed.output), "the old token is said to fail", listed.output)
        expect(not CONNECTED.search(listed.output), "the old token does not connect", listed.output)
        expect_connected(client.mcp_list(workspace.secret))

    def prints_what_to_do(self, name):
        mistake = mistakes(self.server)[name]
        url = mistake.url.partition("?")[0]
        client = self.client()
        if name == "no token":
            client.use_no_token(url)
        elif name == "two credentials":
            client.use_both_forms(url)
        else:
            client.use_header_form(url)
        # What Claude Code sends for a variable that is not set is the literal text.
        listed = client.mcp_list(None if name == "literal ${NAME}" else mistake.token)
        expect(NOT_CONNECTED.search(listed.output), "it is said to fail", listed.output)
        if instead := INSTEAD.get(name):
            expect(instead.search(listed.output), "it prints what is wrong", listed.output)
        else:
            expect(as_json(mistake.sentence) in listed.output, "it prints the sentence", listed.output)
        secret = name != "literal ${NAME}" and mistake.token
        expect(not secret or secret not in listed.output, "it repeats no token", listed.output)

    def two_calls_with_one_session_token(self):
        with Work(self, "legacy") as work:
            work.play([ToolCall("createTask", NEW_TASK), ToolCall("getWorkspace")])
            created, described = work.shown(2)
            work.expect(not created.is_error and "task created with id=" in created.text, "the first call made a task")
            work.expect(not described.is_error and "Workspace:" in described.text, "the second call described the workspace")
            issued = [exchange.issued_session for exchange in work.proxy.exchanges if exchange.rpc_method == "initialize"]
            sent = {call.session for call in work.proxy.calls()}
            work.expect(len(issued) == 1 and sent == set(issued), "both calls carried the one session token that was issued")
            work.expect(all(call.status == 200 for call in work.proxy.calls()), "both calls were answered with 200")

    def lost_session_is_replaced(self):
        with Work(self, "legacy") as work:
            def end_session():
                status = work.workspace.end_session(work.proxy.calls()[-1].session)
                expect(200 <= status < 300, f"the session is ended from the side, not answered with {status}")

            work.play([ToolCall("getWorkspace"), ToolCall("createTask", NEW_TASK, before=end_session)])
            _, created = work.shown(2)
            work.expect(not created.is_error and "task created with id=" in created.text, "the model saw only success")
            work.expect(len(work.proxy.calls()) == 3, "the refused call was made a second time")
            first, refused, retried = work.proxy.calls()
            work.expect(refused.session == first.session and refused.status == 404, "the ended session was answered with 404")
            work.expect(
                retried.session and retried.session != first.session and retried.status == 200,
                "the call was made again in a new session",
            )

    def rotation_between_two_calls(self, mode):
        with Work(self, mode) as work:
            work.play([ToolCall("getWorkspace"), ToolCall("createTask", NEW_TASK, before=work.workspace.rotate)])
            described, refused = work.shown(2)
            work.expect(not described.is_error, "the call before the rotation worked")
            work.expect_clear_error(refused)
            after = work.proxy.calls("createTask")
            work.expect(after and all(call.status == 401 for call in after), "calls with the old token were answered with 401")

    def rotation_during_a_call(self, mode):
        with Work(self, mode) as work:
            def rotate_when_the_call_is_open():
                work.proxy.wait_for(lambda exchange: exchange.tool == "getTask", timeout=20)
                time.sleep(0.5)  # the proxy saw the call; let the server take it up
                work.rotated = time.monotonic()
                work.workspace.rotate()

            rotation = threading.Thread(target=rotate_when_the_call_is_open, daemon=True)
            work.play([ToolCall("getTask", {"waitSeconds": 30}, before=rotation.start)])
            rotation.join()
            [interrupted] = work.shown(1)
            work.expect_clear_error(interrupted)
            call = work.proxy.calls("getTask")[0]
            work.expect(call.ended - work.rotated < 5, "the open call ended with the rotation")


    def helper_gets_the_new_token(self, mode):
        with Work(self, mode) as work:
            held = work.client.home / "token"

            def hold():
                held.touch(mode=0o600)
                held.write_text(work.workspace.secret)

            def regenerate():
                work.workspace.rotate()
                hold()

            hold()
            url = work.proxy.address_of(work.workspace.mcp_url)
            # Straight to the server: what comes by the proxy is what Claude Code itself sends.
            words = [str(self.server.binary), "headers", "--url", work.workspace.mcp_url, "--token-file", str(held)]
            work.client.use_helper(url, shlex.join(words))
            script = [ToolCall("getWorkspace"), ToolCall("createTask", NEW_TASK, before=regenerate), ToolCall("getWorkspace")]
            work.play(script, is_configured=True)
            described, created, again = work.shown(3)
            work.expect(not any(result.is_error for result in work.model_api.shown), "the model saw only success")
            work.expect("Workspace:" in described.text and "Workspace:" in again.text, "the workspace was described, before and after")
            work.expect("task created with id=" in created.text, "the call after the rotation made a task")
            statuses = [call.status for call in work.proxy.calls("createTask")]
            work.expect(statuses[0] == 401 and statuses[-1] == 200, f"it was refused, and then made again: {statuses}")
            kinds = {exchange.kind for exchange in work.proxy.exchanges if exchange.path.startswith("/mcp/")}
            work.expect(kinds == {"workspace-access+jwt"}, f"the client has sent access tokens alone: {kinds}")


class Work:
    """One run of Claude Code against one workspace, seen from the wire and from the model."""

    def __init__(self, checks, mode):
        self.client = checks.client()
        self.workspace = checks.server.create_workspace("work")
        self.mode = mode
        self.proxy = Proxy(checks.server.url)

    def __enter__(self):
        self.proxy.__enter__()
        return self

    def __exit__(self, *error):
        self.proxy.__exit__(*error)

    def play(self, script, is_configured=False):
        if not is_configured:
            self.client.use_header_form(self.proxy.address_of(self.workspace.mcp_url))
        with ModelApi(TOOL_PREFIX, script) as self.model_api:
            self.finished = self.client.work(self.workspace.secret, self.model_api, self.mode)
        if self.model_api.failure:
            raise self.model_api.failure
        self.expect(not self.finished.timed_out, "Claude Code came to its end")
        self.expect(self.finished.code == 0 and LAST_WORDS in self.finished.output, "Claude Code ended as the script does")

    def shown(self, count):
        self.expect(len(self.model_api.shown) == count, f"the model was shown {count} results")
        return self.model_api.shown

    def expect(self, holds, what):
        expect(holds, what, self.model_api, self.proxy, f"Claude Code printed:\n{self.finished.output[-2000:]}")

    def expect_clear_error(self, result):
        self.expect(result.is_error and CLEAR_ERROR.search(result.text), "the model saw an error that names the token")


def expect_connected(listed):
    expect(listed.code == 0 and CONNECTED.search(listed.output), "`claude mcp list` says that it is connected", listed.output)
