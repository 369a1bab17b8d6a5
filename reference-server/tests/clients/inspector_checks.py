"""What must hold for the inspector's command line: it works in each era, and prints what to do about a wrong credential."""

import itertools
import json

import process
from report import expect
from sentences import NAMES, as_json, mistakes

SECONDS = 60
AUTH_REQUIRED = 3


class InspectorChecks:
    """The checks, each with a workspace and a home of its own. `program` is Node and the inspector's launcher."""

    def __init__(self, program, server, folder):
        self.program = program
        self.server = server
        self.folders = (folder / f"inspector-{number}" for number in itertools.count(1))

    def all(self):
        for era in ("legacy", "modern"):
            yield f"{era}: lists tools and calls one", self.works, era
        yield "not connected after rotation, connected with the new token", self.rotation
        for name in NAMES:
            yield f"prints what to do: {name}", self.prints_what_to_do, name

    def run(self, url, token, *words):
        home = next(self.folders)
        home.mkdir()
        header = [] if token is None else ["--header", f"Authorization: Bearer {token}"]
        # Without --stored-auth-only it tells a 401 from nothing but that OAuth needs a terminal.
        argv = [*self.program, "--cli", url, "--transport", "http", "--stored-auth-only", *words, *header]
        environment = process.clean_environment(home, MCP_AUTO_OPEN_ENABLED="false")
        return process.run(argv, timeout=SECONDS, env=environment, cwd=home)

    def works(self, era):
        workspace = self.server.create_workspace("inspected")
        of_era = ("--protocol-era", era)
        listed = self.run(workspace.mcp_url, workspace.secret, *of_era, "--method", "tools/list")
        expect(listed.code == 0, "tools are listed", listed.output[-2000:])
        names = {tool["name"] for tool in json.loads(listed.stdout)["tools"]}
        expect("getWorkspace" in names, f"the tools are there, not {names}")
        call = ("--method", "tools/call", "--tool-name", "getWorkspace")
        called = self.run(workspace.mcp_url, workspace.secret, *of_era, *call)
        expect(called.code == 0 and "Workspace:" in called.stdout, "the tool is called", called.output[-2000:])

    def rotation(self):
        workspace = self.server.create_workspace("inspected")
        old = workspace.secret
        workspace.rotate()
        method = ("--method", "tools/list")
        refused = self.run(workspace.mcp_url, old, *method)
        expect(refused.code == AUTH_REQUIRED, f"the old token needs to be replaced, not {refused.code}", refused.output)
        listed = self.run(workspace.mcp_url, workspace.secret, *method)
        expect(listed.code == 0, "the new token works", listed.output[-2000:])

    def prints_what_to_do(self, name):
        mistake = mistakes(self.server)[name]
        printed = self.run(mistake.url, mistake.token, "--method", "tools/list")
        expect(printed.code not in (0, None), "it fails", printed.output)
        # It prints an error in JSON, which holds the body of the answer as a text.
        expect(as_json(as_json(mistake.sentence)) in printed.output, "it prints the sentence", printed.output)
        expect(mistake.token in (None, "") or mistake.token not in printed.output, "it repeats no token", printed.output)
