"""Runs Claude Code unattended: a throw-away home and project, its MCP configuration, and one command at a time."""

import json
from pathlib import Path

import process
from sentences import VARIABLE

SERVER_NAME = "demo"
TOOL_PREFIX = f"mcp__{SERVER_NAME}__"
LIST_SECONDS = 40
WORK_SECONDS = 40


class ClaudeCode:
    """Claude Code in a folder of its own, which has never seen another configuration."""

    def __init__(self, program, folder, environment=None):
        self.program = program
        self.environment = environment or {}
        self.home = Path(folder, "home")
        self.project = Path(folder, "project")
        self.scratch = Path(folder, "tmp")
        self.home.mkdir(parents=True)
        self.project.mkdir()
        self.scratch.mkdir()
        approval = {"enabledMcpjsonServers": [SERVER_NAME], "hasTrustDialogAccepted": True}
        settings = {"hasCompletedOnboarding": True, "projects": {str(self.project): approval}}
        Path(self.home, ".claude.json").write_text(json.dumps(settings))

    def use_header_form(self, mcp_url):
        self._write_mcp_json({"url": mcp_url, "headers": {"Authorization": f"Bearer ${{{VARIABLE}}}"}})

    def use_query_form(self, mcp_url):
        self._write_mcp_json({"url": f"{mcp_url}?token=${{{VARIABLE}}}"})

    def use_both_forms(self, mcp_url):
        """Sends the token twice, which is a mistake."""
        header = {"Authorization": f"Bearer ${{{VARIABLE}}}"}
        self._write_mcp_json({"url": f"{mcp_url}?token=${{{VARIABLE}}}", "headers": header})

    def use_no_token(self, mcp_url):
        self._write_mcp_json({"url": mcp_url})

    def use_helper(self, mcp_url, command):
        """Has the client get its headers from a command: it runs it again when a request is answered with 401."""
        self._write_mcp_json({"url": mcp_url, "headersHelper": command})

    def _write_mcp_json(self, entry):
        servers = {"mcpServers": {SERVER_NAME: {"type": "http", **entry}}}
        Path(self.project, ".mcp.json").write_text(json.dumps(servers))

    def mcp_list(self, token):
        """Runs `claude mcp list`, the client's own health check, with `token` in the variable; None leaves it unset."""
        return self._run(["mcp", "list"], LIST_SECONDS, {} if token is None else {VARIABLE: token})

    def work(self, token, model_api, mode=None):
        """Lets the scripted model work to its end; `mode` forces a protocol era, by default the client chooses."""
        environment = {
            VARIABLE: token,
            "ANTHROPIC_BASE_URL": model_api.url,
            "ANTHROPIC_API_KEY": "scripted",
            # Otherwise the tools of an MCP server are not offered to the model before it has searched for them.
            "ENABLE_TOOL_SEARCH": "false",
        }
        if mode:
            environment["MCP_PROTOCOL_NEGOTIATION"] = mode
        return self._run(["-p", "Follow the script.", "--allowedTools", f"mcp__{SERVER_NAME}"], WORK_SECONDS, environment)

    def _run(self, words, timeout, more):
        quiet = {"DISABLE_TELEMETRY": "1", "DISABLE_AUTOUPDATER": "1", "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1"}
        # It leaves files in the temporary folder, which otherwise would be the machine's.
        scratch = {"TMPDIR": str(self.scratch), "CLAUDE_CODE_TMPDIR": str(self.scratch)}
        environment = process.clean_environment(self.home, **quiet, **scratch, **self.environment, **more)
        return process.run([self.program, *words], timeout=timeout, env=environment, cwd=self.project)
