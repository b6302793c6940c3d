"""A scripted upstream that speaks OpenAI's API and Anthropic's, for what the demo provider does not: files, batches, stored responses,
multipart, and Anthropic's messages. The model's name selects what happens; what was asked is kept for the stories. It knows nothing
of the gateway. Run by itself, it prints its address and serves until it is ended."""

import base64
import email.parser
import email.policy
import json
import re
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

OPENAI_KEY, ANTHROPIC_KEY = "scripted-openai-key", "scripted-anthropic-key"
SILENCE = 3
PIXEL = base64.b64decode("iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg==")


class Scripted(ThreadingHTTPServer):
    """Listens on loopback as soon as it is made; `asked` holds (method, path, headers, body) in the order of arrival."""

    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.asked = []
        self.files = {}
        self.left = threading.Event()
        self.url = f"http://127.0.0.1:{self.server_port}/v1"

    def __enter__(self):
        threading.Thread(target=self.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_):
        self.shutdown()
        self.server_close()

    def configuration(self, openai="scripted", claude="claude"):
        """A provider for each API, by these ids, as ApplyConfig takes them."""
        speaks = {openai: ("DIALECT_OPENAI", OPENAI_KEY), claude: ("DIALECT_ANTHROPIC", ANTHROPIC_KEY)}
        retry = {"backoffBase": "0.001s", "backoffCap": "0.001s"}
        return {
            "providers": [
                {"name": f"providers/{name}", "dialect": dialect, "baseUrl": self.url, "retry": retry} for name, (dialect, _) in speaks.items()
            ],
            "credentials": [{"name": f"providers/{name}/credentials/main", "secret": key} for name, (_, key) in speaks.items()],
        }


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def answer(self, status, body, content_type="application/json", headers=()):
        encoded = body if isinstance(body, bytes) else json.dumps(body).encode()
        self.send_response(status)
        for name, value in [("Content-Type", content_type), ("Content-Length", str(len(encoded))), *headers]:
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(encoded)

    def stream(self, events):
        """Sends frames, and pauses where one is a number."""
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Connection", "close")
        self.end_headers()
        self.close_connection = True
        try:
            for event in events:
                if isinstance(event, (int, float)):
                    time.sleep(event)
                else:
                    self.wfile.write(event.encode())
                    self.wfile.flush()
        except OSError:
            self.server.left.set()

    def handle_any(self):
        body = self.body()
        path = self.path.split("?")[0]
        self.server.asked.append((self.command, self.path, dict(self.headers), body))
        if path.startswith("/v1/messages"):
            if self.headers.get("x-api-key") != ANTHROPIC_KEY:
                return self.answer(401, anthropic_error("authentication_error", "invalid x-api-key"))
            return self.messages(path, json.loads(body))
        if self.headers.get("Authorization") != f"Bearer {OPENAI_KEY}":
            return self.answer(401, openai_error("wrong key", "invalid_api_key"))
        for method, pattern, act in ROUTES:
            found = re.fullmatch(pattern, path)
            if method == self.command and found:
                return act(self, body, *found.groups())
        return self.answer(404, openai_error(f"no such page: {path}", "unknown_url"))

    do_GET = do_POST = do_DELETE = handle_any

    def body(self):
        if self.headers.get("Transfer-Encoding", "") != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length", 0)))
        whole = b""
        while size := int(self.rfile.readline(), 16):
            whole += self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()
        return whole

    def form(self, body):
        """The parts of a multipart body: name -> (file name, bytes)."""
        head = f"Content-Type: {self.headers['Content-Type']}\r\n\r\n".encode()
        parts = email.parser.BytesParser(policy=email.policy.HTTP).parsebytes(head + body).iter_parts()
        return {part.get_param("name", header="content-disposition"): (part.get_filename(), part.get_payload(decode=True)) for part in parts}

    def chat(self, body):
        request = json.loads(body)
        wait = re.fullmatch(r"limited-(\d+)", request["model"])
        if wait:
            return self.answer(429, openai_error("too many requests", "rate_limit_exceeded"), headers=[("Retry-After", wait[1])])
        if request["model"] == "fails":
            return self.answer(500, openai_error("as scripted", "internal_error"))
        if not request.get("stream"):
            message = {"role": "assistant", "content": "as scripted"}
            choices = [{"index": 0, "message": message, "finish_reason": "stop", "logprobs": None}]
            usage = {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5}
            return self.answer(200, {**CHUNK, "object": "chat.completion", "choices": choices, "usage": usage})
        metered = (request.get("stream_options") or {}).get("include_usage")
        self.stream(chat_events(metered, request["model"]))

    def create_file(self, body):
        form = self.form(body)
        name, content = form["file"]
        identity = f"file-{len(self.server.files) + 1}"
        self.server.files[identity] = content
        self.answer(200, file_object(identity, content, name, form["purpose"][1].decode()))

    def list_files(self, _body):
        data = [file_object(identity, content) for identity, content in self.server.files.items()]
        self.answer(200, {"object": "list", "data": data, "has_more": False})

    def file(self, _body, identity):
        if identity not in self.server.files:
            return self.answer(404, openai_error(f"no such file: {identity}", None))
        self.answer(200, file_object(identity, self.server.files[identity]))

    def file_content(self, _body, identity):
        self.answer(200, self.server.files[identity], "application/octet-stream")

    def delete_file(self, _body, identity):
        del self.server.files[identity]
        self.answer(200, {"id": identity, "object": "file", "deleted": True})

    def create_batch(self, body):
        request = json.loads(body)
        if request["input_file_id"] not in self.server.files:
            return self.answer(400, openai_error(f"no such file: {request['input_file_id']}", None))
        self.answer(200, {**BATCH, "endpoint": request["endpoint"], "input_file_id": request["input_file_id"]})

    def batch(self, _body, identity, *_):
        self.answer(200, {**BATCH, "id": identity, "status": "cancelling" if _ else "completed"})

    def list_batches(self, _body):
        self.answer(200, {"object": "list", "data": [BATCH], "has_more": False})

    def respond(self, body):
        request = json.loads(body)
        self.answer(200, {**RESPONSE, "previous_response_id": request.get("previous_response_id")})

    def response(self, _body, identity):
        self.answer(200, {**RESPONSE, "id": identity})

    def delete_response(self, _body, identity):
        self.answer(200, {"id": identity, "object": "response", "deleted": True})

    def transcribe(self, body):
        form = self.form(body)
        name, content = form["file"]
        self.answer(200, {"text": f"{len(content)} bytes of {name} for {form['model'][1].decode()}"})

    def edit(self, body):
        form = self.form(body)
        image = next(content for name, (_, content) in form.items() if name.startswith("image"))
        self.answer(200, {"created": 0, "data": [{"b64_json": base64.b64encode(image).decode()}]})

    def messages(self, path, request):
        if path == "/v1/messages/count_tokens":
            return self.answer(200, {"input_tokens": 14})
        fault = re.fullmatch(r"fault-(\d+)", request["model"])
        if fault:
            status = int(fault[1])
            return self.answer(status, anthropic_error(ANTHROPIC_ERRORS[status], f"scripted {status}"))
        if request.get("stream"):
            return self.stream(message_events(request["model"]))
        message = {**MESSAGE, "model": request["model"], "content": [{"type": "text", "text": "as scripted"}], "stop_reason": "end_turn"}
        if request.get("tools"):
            call = {"type": "tool_use", "id": "toolu_1", "name": request["tools"][0]["name"], "input": {"city": "Bern"}}
            message.update(content=[call], stop_reason="tool_use")
        self.answer(200, message)


ROUTES = [
    ("POST", "/v1/chat/completions", Handler.chat),
    ("POST", "/v1/files", Handler.create_file),
    ("GET", "/v1/files", Handler.list_files),
    ("GET", "/v1/files/([^/]+)", Handler.file),
    ("GET", "/v1/files/([^/]+)/content", Handler.file_content),
    ("DELETE", "/v1/files/([^/]+)", Handler.delete_file),
    ("POST", "/v1/batches", Handler.create_batch),
    ("GET", "/v1/batches", Handler.list_batches),
    ("GET", "/v1/batches/([^/]+)", Handler.batch),
    ("POST", "/v1/batches/([^/]+)/(cancel)", Handler.batch),
    ("POST", "/v1/responses", Handler.respond),
    ("GET", "/v1/responses/([^/]+)", Handler.response),
    ("DELETE", "/v1/responses/([^/]+)", Handler.delete_response),
    ("POST", "/v1/audio/transcriptions", Handler.transcribe),
    ("POST", "/v1/images/edits", Handler.edit),
]
CHUNK = {"id": "chatcmpl-scripted", "object": "chat.completion.chunk", "created": 1, "model": "scripted"}
BATCH = {"id": "batch-1", "object": "batch", "endpoint": "/v1/chat/completions", "input_file_id": "file-1", "completion_window": "24h", "status": "validating", "created_at": 0}
RESPONSE = {
    "id": "resp_1",
    "object": "response",
    "created_at": 0,
    "status": "completed",
    "model": "scripted",
    "output": [{"id": "msg_1", "type": "message", "role": "assistant", "status": "completed", "content": [{"type": "output_text", "text": "as scripted", "annotations": []}]}],
    "parallel_tool_calls": True,
    "tool_choice": "auto",
    "tools": [],
}
MESSAGE = {"id": "msg_1", "type": "message", "role": "assistant", "stop_sequence": None, "usage": {"input_tokens": 3, "output_tokens": 2}}
ANTHROPIC_ERRORS = {400: "invalid_request_error", 401: "authentication_error", 404: "not_found_error", 429: "rate_limit_error", 500: "api_error", 529: "overloaded_error"}


def openai_error(message, code):
    return {"error": {"message": message, "type": "invalid_request_error", "param": None, "code": code}}


def anthropic_error(kind, message):
    return {"type": "error", "error": {"type": kind, "message": message}}


def file_object(identity, content, name="input.jsonl", purpose="batch"):
    return {"id": identity, "object": "file", "bytes": len(content), "created_at": 0, "filename": name, "purpose": purpose, "status": "processed"}


def chat_events(metered, model):
    def chunk(delta, finish=None):
        body = {**CHUNK, "choices": [{"index": 0, "delta": delta, "finish_reason": finish}], **({"usage": None} if metered else {})}
        return f"data: {json.dumps(body)}\n\n"

    yield chunk({"role": "assistant", "content": ""})
    yield chunk({"content": "as "})
    if model == "pauses":
        yield SILENCE
    for _ in range(600 if model == "endless" else 0):
        yield 0.1
        yield chunk({"content": "and on "})
    yield chunk({"content": "scripted"})
    yield chunk({}, "stop")
    if metered:
        usage = {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5}
        yield f"data: {json.dumps({**CHUNK, 'choices': [], 'usage': usage})}\n\n"
    yield "data: [DONE]\n\n"


def message_events(model):
    def event(kind, **fields):
        return f"event: {kind}\ndata: {json.dumps({'type': kind, **fields})}\n\n"

    yield event("message_start", message={**MESSAGE, "model": model, "content": [], "stop_reason": None})
    yield event("ping")
    yield event("content_block_start", index=0, content_block={"type": "text", "text": ""})
    yield event("content_block_delta", index=0, delta={"type": "text_delta", "text": "as "})
    if model == "breaks":
        yield event("error", error={"type": "overloaded_error", "message": "scripted, in the middle"})
        return
    if model == "cut":
        return
    yield event("content_block_delta", index=0, delta={"type": "text_delta", "text": "scripted"})
    yield event("content_block_stop", index=0)
    yield event("message_delta", delta={"stop_reason": "end_turn", "stop_sequence": None}, usage={"output_tokens": 2})
    yield event("message_stop")


if __name__ == "__main__":
    server = Scripted()
    print(server.url, flush=True)
    server.serve_forever()
