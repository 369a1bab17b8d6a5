"""A scripted stand-in for the model API that Claude Code speaks (Anthropic Messages API, streamed).

The "model" calls the tools of its script one after the other and ends with a line of text.
It keeps what it was shown in answer to each call, which is all that a real model would know about the server.
"""

import json
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler

from loopback import LoopbackServer

LAST_WORDS = "The script has ended."


@dataclass
class ToolCall:
    """One answer of the model; `before` runs first, while the client waits for that answer."""

    tool: str
    arguments: dict = field(default_factory=dict)
    before: Callable[[], object] = lambda: None


@dataclass
class Shown:
    """The result of one tool call as the client shows it to the model."""

    text: str
    is_error: bool


class ModelApi:
    """Plays `script`, a list of `ToolCall`s, to whoever asks; `tool_prefix` marks the conversation that it is meant for."""

    def __init__(self, tool_prefix, script):
        self.tool_prefix = tool_prefix
        self.script = script
        self.shown = []
        self.failure = None
        self.played = set()
        self.lock = threading.Lock()
        self.server = LoopbackServer(Handler, owner=self)

    def __enter__(self):
        self.server.__enter__()
        return self

    def __exit__(self, *error):
        self.server.__exit__(*error)

    @property
    def url(self):
        return f"http://{self.server.authority}"

    def answer(self, request):
        """Returns the content block that comes next in the conversation of `request`, and why the model stops there."""
        with self.lock:
            offered = [tool["name"] for tool in request.get("tools", [])]
            if not any(name.startswith(self.tool_prefix) for name in offered):
                return text_block("ok"), "end_turn"  # a side request, such as one for a title
            self.shown = tool_results(request["messages"])
            step = len(self.shown)
            if step >= len(self.script) or self.failure:
                return text_block(LAST_WORDS), "end_turn"
            call = self.script[step]
            if step not in self.played:
                self.played.add(step)
                try:
                    call.before()
                except Exception as failure:
                    self.failure = failure
                    return text_block(LAST_WORDS), "end_turn"
            block = {"type": "tool_use", "id": f"toolu_{step}", "name": self.tool_prefix + call.tool, "input": call.arguments}
            return block, "tool_use"

    def __str__(self):
        shown = "\n".join(f"  {'error' if result.is_error else 'ok'}: {result.text[:400]!r}" for result in self.shown)
        return f"shown to the model:\n{shown}"


def text_block(text):
    return {"type": "text", "text": text}


def tool_results(messages):
    """Returns every tool result of a conversation, in order."""
    blocks = [block for message in messages if isinstance(message["content"], list) for block in message["content"]]
    return [
        Shown(text_of(block.get("content", "")), bool(block.get("is_error")))
        for block in blocks
        if block["type"] == "tool_result"
    ]


def text_of(content):
    return content if isinstance(content, str) else "\n".join(part.get("text", "") for part in content)


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        request = json.loads(self.rfile.read(int(self.headers.get("Content-Length") or 0)) or "{}")
        path = self.path.partition("?")[0]
        if path == "/v1/messages/count_tokens":
            self.send_json({"input_tokens": 1})
        elif path != "/v1/messages":
            self.send_json({"type": "error", "error": {"type": "not_found_error", "message": path}}, status=404)
        else:
            block, stop_reason = self.server.owner.answer(request)
            message = {
                "id": "msg_scripted",
                "type": "message",
                "role": "assistant",
                "model": request.get("model", "scripted"),
                "content": [block],
                "stop_reason": stop_reason,
                "stop_sequence": None,
                "usage": {"input_tokens": 1, "output_tokens": 1},
            }
            if request.get("stream"):
                self.send_stream(message)
            else:
                self.send_json(message)

    def do_HEAD(self):
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def do_GET(self):
        self.send_json({"data": []})

    def send_json(self, value, status=200):
        body = json.dumps(value).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def send_stream(self, message):
        """Sends a finished message as the events in which a real model would have streamed it."""
        [block] = message["content"]
        if block["type"] == "text":
            opening, delta = text_block(""), {"type": "text_delta", "text": block["text"]}
        else:
            opening, delta = {**block, "input": {}}, {"type": "input_json_delta", "partial_json": json.dumps(block["input"])}
        end = {"stop_reason": message["stop_reason"], "stop_sequence": None}
        events = [
            {"type": "message_start", "message": {**message, "content": [], "stop_reason": None}},
            {"type": "content_block_start", "index": 0, "content_block": opening},
            {"type": "content_block_delta", "index": 0, "delta": delta},
            {"type": "content_block_stop", "index": 0},
            {"type": "message_delta", "delta": end, "usage": {"output_tokens": 1}},
            {"type": "message_stop"},
        ]
        body = "".join(f"event: {event['type']}\ndata: {json.dumps(event)}\n\n" for event in events).encode()
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass
