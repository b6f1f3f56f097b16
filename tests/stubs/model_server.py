"""A stub of the OpenAI and Anthropic APIs on a loopback port: wire-true answers, counted calls, failures on demand.

As a fixture: ``with ModelServer() as server: ... server.openai_url, server.calls``.
As a script: ``python tests/stubs/model_server.py [--port N] [--delay SECONDS]`` prints one JSON line with its URLs and
serves until it is killed. Over HTTP: ``GET /_calls`` answers every model request so far, ``POST /_behave`` takes
``{"fail": [statuses], "delay": seconds, "block": bool}``.
"""

from __future__ import annotations

import argparse
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


class ModelServer:
    """The server; its thread ends with the context.

    :param port: 0 takes a free one.
    :param answer: What to answer instead of the built-in rule: text, or an object for requests with a tool.
    """

    def __init__(self, port: int = 0, *, delay: float = 0.0, answer: Any = None) -> None:
        self.calls: list[dict[str, Any]] = []
        self.failures: list[int] = []
        self.delay = delay
        self.answer = answer
        self.garbage = False
        self.scripts: dict[str, Any] = {}
        self.blocked_model: str | None = None
        self.released = threading.Event()
        self.released.set()
        self.arrived = threading.Semaphore(0)
        self._lock = threading.Lock()
        self._server = ThreadingHTTPServer(("127.0.0.1", port), type("Handler", (_Handler,), {"model": self}))
        self._server.daemon_threads = True
        # Callers are killed in the middle of requests; what they leave is no news.
        self._server.handle_error = lambda *_: None  # type: ignore[method-assign]
        self.port = int(self._server.server_address[1])

    @property
    def openai_url(self) -> str:
        return f"http://127.0.0.1:{self.port}/v1"

    @property
    def anthropic_url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def block(self) -> None:
        """Hold every answer until :meth:`release`."""
        self.released.clear()

    def block_model(self, model: str) -> None:
        """Hold the answers of one model until :meth:`release`."""
        self.blocked_model = model
        self.released.clear()

    def release(self) -> None:
        self.blocked_model = None
        self.released.set()

    def __enter__(self) -> ModelServer:
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.release()
        self._server.shutdown()
        self._server.server_close()

    def serve_forever(self) -> None:
        self._server.serve_forever()

    def next_answer(self, model: str) -> Any:
        """Return what to answer: the next of the model's script (``{"error": text}`` is a failure), else ``answer``. A
        script that is no list answers every call."""
        with self._lock:
            script = self.scripts.get(model)
            if script is None:
                return self.answer
            if not isinstance(script, list):
                return script
            return script.pop(0) if script else {"error": "the script is exhausted"}

    def prompts(self, model: str) -> list[str]:
        """Return the last user message of every call to a model so far."""
        with self._lock:
            return [last_prompt(call["body"]) for call in self.calls if call["body"]["model"] == model]

    def take(self, path: str, headers: dict[str, str], body: dict[str, Any]) -> int | None:
        """Note a call; return the status to fail it with, if any."""
        with self._lock:
            self.calls.append({"path": path, "headers": headers, "body": body})
            status = self.failures.pop(0) if self.failures else None
        self.arrived.release()
        if self.blocked_model in (None, body["model"]):
            self.released.wait()
        if self.delay:
            threading.Event().wait(self.delay)
        return status


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    model: ModelServer

    def do_GET(self) -> None:
        if self.path == "/_calls":
            self._send(200, {"count": len(self.model.calls), "calls": self.model.calls})
        else:
            self._send(404, {})

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers.get("content-length", 0))) or b"{}")
        if self.path == "/_behave":
            self._behave(body)
        elif self.path in ("/v1/chat/completions", "/v1/messages"):
            self._answer(body)
        else:
            self._send(404, {"error": {"message": f"no such path {self.path}", "type": "invalid_request_error"}})

    def _behave(self, body: dict[str, Any]) -> None:
        self.model.failures.extend(body.get("fail", []))
        self.model.delay = body.get("delay", self.model.delay)
        if "block" in body:
            (self.model.block if body["block"] else self.model.release)()
        self._send(200, {})

    def _answer(self, body: dict[str, Any]) -> None:
        status = self.model.take(self.path, {name.lower(): value for name, value in self.headers.items()}, body)
        if self.model.garbage:
            self._raw(200, b"<html>not a model</html>", "text/html")
        elif status is not None:
            key = self.headers.get("authorization", self.headers.get("x-api-key", ""))
            message = f"stubbed failure for key {key}"
            error = {"message": message, "type": "stub_error", "code": None, "param": None}
            self._send(status, {"type": "error", "error": error})
        else:
            self._answer_with(body, self.model.next_answer(body["model"]))

    def _answer_with(self, body: dict[str, Any], answer: Any) -> None:
        if isinstance(answer, dict) and set(answer) == {"error"}:
            error = {"message": answer["error"], "type": "stub_error", "code": None, "param": None}
            self._send(500, {"type": "error", "error": error})
        elif self.path == "/v1/messages":
            self._send(200, anthropic_answer(body, answer))
        else:
            self._send(200, openai_answer(body, answer))

    def _send(self, status: int, value: Any) -> None:
        self._raw(status, json.dumps(value).encode(), "application/json")

    def _raw(self, status: int, data: bytes, content_type: str) -> None:
        try:
            self.send_response(status)
            self.send_header("content-type", content_type)
            self.send_header("content-length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)
        except OSError:
            pass  # The caller has gone: cancelled, timed out or killed.

    def log_message(self, *_: object) -> None:
        """Stay silent."""


def openai_answer(body: dict[str, Any], answer: Any) -> dict[str, Any]:
    """Return a chat completion: a tool call where a tool is offered, else text."""
    message: dict[str, Any] = {"role": "assistant", "content": None, "refusal": None}
    tools = body.get("tools") or []
    if tools and not isinstance(answer, str):
        function = tools[0]["function"]
        value = answer if answer is not None else sample(function["parameters"], last_prompt(body))
        arguments = json.dumps(value)
        call = {"id": "call_1", "type": "function", "function": {"name": function["name"], "arguments": arguments}}
        message["tool_calls"] = [call]
    else:
        message["content"] = answer if isinstance(answer, str) else f"stub answer to: {last_prompt(body)}"
    return {
        "id": "chatcmpl-stub",
        "object": "chat.completion",
        "created": 1700000000,
        "model": body["model"],
        "choices": [
            {"index": 0, "message": message, "finish_reason": "tool_calls" if "tool_calls" in message else "stop"}
        ],
        "usage": {"prompt_tokens": 11, "completion_tokens": 7, "total_tokens": 18},
    }


def anthropic_answer(body: dict[str, Any], answer: Any) -> dict[str, Any]:
    """Return a message: a tool use where a tool is offered, else text."""
    tools = body.get("tools") or []
    block: dict[str, Any]
    if tools and not isinstance(answer, str):
        value = answer if answer is not None else sample(tools[0]["input_schema"], last_prompt(body))
        block = {"type": "tool_use", "id": "toolu_1", "name": tools[0]["name"], "input": value}
    else:
        text = answer if isinstance(answer, str) else f"stub answer to: {last_prompt(body)}"
        block = {"type": "text", "text": text}
    return {
        "id": "msg_stub",
        "type": "message",
        "role": "assistant",
        "model": body["model"],
        "content": [block],
        "stop_reason": "tool_use" if block["type"] == "tool_use" else "end_turn",
        "stop_sequence": None,
        "usage": {"input_tokens": 11, "output_tokens": 7},
    }


def last_prompt(body: dict[str, Any]) -> str:
    """Return the text of the last user message."""
    content = next(item["content"] for item in reversed(body["messages"]) if item["role"] == "user")
    return content if isinstance(content, str) else "".join(part.get("text", "") for part in content)


def sample(schema: dict[str, Any], prompt: str) -> dict[str, Any]:
    """Return an object of a flat schema: suggested words of the prompt, else "other", 0, false, [] and {}."""
    empty = {"integer": 0, "number": 0, "boolean": False, "array": [], "object": {}}
    value: dict[str, Any] = {}
    for name, item in schema.get("properties", {}).items():
        suggested = [*item.get("examples", []), *item.get("enum", [])]
        said = next((word for word in suggested if str(word).lower() in prompt.lower()), "other")
        value[name] = empty.get(item.get("type"), said)
    return value


def main() -> None:
    """Serve until killed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--delay", type=float, default=0.0)
    arguments = parser.parse_args()
    server = ModelServer(arguments.port, delay=arguments.delay)
    print(json.dumps({"openai": server.openai_url, "anthropic": server.anthropic_url}), flush=True)
    server.serve_forever()


if __name__ == "__main__":
    main()
