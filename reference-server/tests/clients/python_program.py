"""Runs in the virtual environment of the Python SDK: does with its client what it reads, a JSON command a line, and reports.

Each command is answered with one line: `{"ok": …}` or `{"error": …}`.
"""

import asyncio
import contextlib
import json
import sys

import httpx2
from mcp import Client
from mcp.client.streamable_http import streamable_http_client


class Program:
    """The client that the commands work with; `connect` replaces it."""

    def __init__(self):
        self.open = contextlib.AsyncExitStack()
        self.client = None

    async def connect(self, url, token, mode):
        await self.disconnect()
        headers = {} if token is None else {"Authorization": f"Bearer {token}"}
        http_client = httpx2.AsyncClient(headers=headers, timeout=60)
        await self.open.enter_async_context(http_client)
        transport = streamable_http_client(url, http_client=http_client)
        self.client = await self.open.enter_async_context(Client(transport, mode=mode))
        return self.client.session.protocol_version

    async def list_tools(self):
        return [tool.name for tool in (await self.client.list_tools()).tools]

    async def call(self, tool, arguments):
        result = await self.client.call_tool(tool, arguments)
        text = "\n".join(block.text for block in result.content if block.type == "text")
        if result.is_error:
            raise RuntimeError(text)
        return text

    async def disconnect(self):
        await self.open.aclose()


async def main():
    program = Program()
    while line := await asyncio.to_thread(sys.stdin.readline):
        command = json.loads(line)
        try:
            answer = {"ok": await getattr(program, command.pop("do"))(**command)}
        except Exception as error:
            answer = {"error": describe(error)}
        print(json.dumps(answer), flush=True)


def describe(error):
    """Returns the innermost error in words; the SDK's task groups wrap it several times."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return f"{type(error).__name__}: {error}"


asyncio.run(main())
