"""A model that follows a script: speaks the four protocols that coding agents speak, and keeps what they answer.

It keeps no state of the conversation: how far it is, is read off each request, by counting the results of tools in it.
"""

import http.server
import json
import threading
from dataclasses import dataclass, field


@dataclass
class Script:
    """What the model asks for, call by call: the tool's name and its arguments."""

    calls: list[tuple[str, dict]]
    # What came back, in the same order; and requests that the model didn't expect.
    results: dict[int, str] = field(default_factory=dict)
    strange: list[str] = field(default_factory=list)
    asked: threading.Event = field(default_factory=threading.Event)

    def next(self, results: list[str]) -> tuple[str, dict] | None:
        """Takes the results so far, gives the next call; none when all is done."""
        for number, result in enumerate(results):
            self.results.setdefault(number, result)
        if len(results) + 1 == len(self.calls):
            self.asked.set()
        return self.calls[len(results)] if len(results) < len(self.calls) else None


def text_of(content) -> str:
    """The text of a result, which is a string or a list of parts."""
    if isinstance(content, list):
        return "".join(part.get("text", "") for part in content)
    return str(content)


def messages(script: Script, request: dict) -> tuple[str, bytes]:
    """Anthropic's Messages."""
    blocks = [block for message in request["messages"] if isinstance(message["content"], list) for block in message["content"]]
    results = [text_of(block.get("content", "")) for block in blocks if block["type"] == "tool_result"]
    has_tool = any(tool.get("name") == script.calls[0][0] for tool in request.get("tools", []))
    call = script.next(results) if has_tool else None
    if call:
        block = {"type": "tool_use", "id": f"toolu_{len(results):03}", "name": call[0], "input": {}}
        delta = {"type": "input_json_delta", "partial_json": json.dumps(call[1])}
    else:
        block, delta = {"type": "text", "text": ""}, {"type": "text_delta", "text": "Done."}
    reason = "tool_use" if call else "end_turn"
    head = {"id": f"msg_{len(results):03}", "type": "message", "role": "assistant", "model": request["model"]}
    usage = {"input_tokens": 10, "output_tokens": 10}
    if not request.get("stream"):
        block |= {"input": call[1]} if call else {"text": "Done."}
        return "application/json", json.dumps({**head, "content": [block], "stop_reason": reason, "stop_sequence": None, "usage": usage}).encode()
    return "text/event-stream", events([
        {"type": "message_start", "message": {**head, "content": [], "stop_reason": None, "stop_sequence": None, "usage": usage}},
        {"type": "content_block_start", "index": 0, "content_block": block},
        {"type": "content_block_delta", "index": 0, "delta": delta},
        {"type": "content_block_stop", "index": 0},
        {"type": "message_delta", "delta": {"stop_reason": reason, "stop_sequence": None}, "usage": usage},
        {"type": "message_stop"},
    ])


def responses(script: Script, request: dict) -> tuple[str, bytes]:
    """OpenAI's Responses."""
    results = [text_of(item["output"]) for item in request["input"] if item.get("type") == "function_call_output"]
    call = script.next(results)
    if call:
        item = {"type": "function_call", "id": f"fc_{len(results):03}", "call_id": f"call_{len(results):03}", "name": call[0],
                "arguments": json.dumps(call[1])}
    else:
        item = {"type": "message", "id": "msg_1", "role": "assistant", "content": [{"type": "output_text", "text": "Done."}]}
    usage = {"input_tokens": 10, "output_tokens": 10, "total_tokens": 20}
    response = {"id": f"resp_{len(results):03}", "object": "response", "status": "completed", "output": [item], "usage": usage}
    return "text/event-stream", events([
        {"type": "response.created", "response": {**response, "status": "in_progress", "output": []}},
        {"type": "response.output_item.done", "output_index": 0, "item": item},
        {"type": "response.completed", "response": response},
    ])


def completions(script: Script, request: dict) -> tuple[str, bytes]:
    """OpenAI's chat completions."""
    results = [text_of(message["content"]) for message in request["messages"] if message["role"] == "tool"]
    # opencode asks for a title too, without tools.
    has_tool = any(tool["function"]["name"] == script.calls[0][0] for tool in request.get("tools") or [])
    call = script.next(results) if has_tool else None
    message = {"role": "assistant", "content": "Next."}
    if call:
        function = {"name": call[0], "arguments": json.dumps(call[1])}
        message["tool_calls"] = [{"index": 0, "id": f"call_{len(results):03}", "type": "function", "function": function}]
    reason = "tool_calls" if call else "stop"
    usage = {"prompt_tokens": 10, "completion_tokens": 10, "total_tokens": 20}
    head = {"id": "chatcmpl-1", "created": 0, "model": request["model"]}
    if not request.get("stream"):
        choice = {"index": 0, "message": message, "finish_reason": reason}
        return "application/json", json.dumps({**head, "object": "chat.completion", "choices": [choice], "usage": usage}).encode()
    head["object"] = "chat.completion.chunk"
    return "text/event-stream", data([
        {**head, "choices": [{"index": 0, "delta": message, "finish_reason": None}]},
        {**head, "choices": [{"index": 0, "delta": {}, "finish_reason": reason}], "usage": usage},
    ]) + b"data: [DONE]\n\n"


def content(script: Script, request: dict) -> dict:
    """An answer of Gemini's API."""
    parts = [part for turn in request["contents"] for part in turn.get("parts", [])]
    responses_ = [part["functionResponse"]["response"] for part in parts if "functionResponse" in part]
    results = [text_of(response.get("output", response)) for response in responses_]
    declared = [each["name"] for tool in request.get("tools", []) for each in tool.get("functionDeclarations", [])]
    call = script.next(results) if script.calls[0][0] in declared else None
    part = {"functionCall": {"id": f"call_{len(results):03}", "name": call[0], "args": call[1]}} if call else {"text": "Done."}
    candidate = {"index": 0, "content": {"role": "model", "parts": [part]}, "finishReason": "STOP"}
    usage = {"promptTokenCount": 10, "candidatesTokenCount": 10, "totalTokenCount": 20}
    return {"candidates": [candidate], "usageMetadata": usage, "modelVersion": "scripted", "responseId": f"response_{len(results):03}"}


def generated(script: Script, request: dict) -> tuple[str, bytes]:
    """Gemini's generateContent."""
    return "application/json", json.dumps(content(script, request)).encode()


def generated_stream(script: Script, request: dict) -> tuple[str, bytes]:
    """Gemini's streamGenerateContent."""
    return "text/event-stream", data([content(script, request)])


def counted(_script: Script, _request: dict) -> tuple[str, bytes]:
    """Gemini's countTokens."""
    return "application/json", b'{"totalTokens": 10}'


def events(sequence: list[dict]) -> bytes:
    """Server-sent events."""
    return b"".join(f"event: {event['type']}\ndata: {json.dumps(event)}\n\n".encode() for event in sequence)


def data(sequence: list[dict]) -> bytes:
    """Server-sent events without names."""
    return b"".join(f"data: {json.dumps(event)}\n\n".encode() for event in sequence)


# Gemini's by what its paths end in: /v1beta/models/NAME:METHOD.
PROTOCOLS = {
    "/v1/messages": messages, "/v1/responses": responses, "/v1/chat/completions": completions,
    "generateContent": generated, "streamGenerateContent": generated_stream, "countTokens": counted,
}


class Model:
    """The server, for one client."""

    def __init__(self, script: Script):
        class Handler(http.server.BaseHTTPRequestHandler):
            """Answers one request."""

            protocol_version = "HTTP/1.1"

            def do_POST(self):
                body = self.rfile.read(int(self.headers.get("content-length") or 0))
                protocol = PROTOCOLS.get(self.path.split("?")[0].rsplit(":", 1)[-1])
                if protocol is None:
                    return self._send(404, "application/json", b"{}")
                try:
                    self._send(200, *protocol(script, json.loads(body)))
                except (KeyError, TypeError, ValueError) as error:
                    script.strange.append(f"{self.path}: {error!r}: {body[:500]!r}")
                    self._send(400, "application/json", b"{}")

            def do_GET(self):
                self._send(404, "application/json", b"{}")

            def do_HEAD(self):
                self._send(200, "application/json", b"")

            def _send(self, status: int, kind: str, body: bytes):
                self.send_response(status)
                self.send_header("content-type", kind)
                self.send_header("content-length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def close(self) -> None:
        """Ends it."""
        self.server.shutdown()
        self.server.server_close()
