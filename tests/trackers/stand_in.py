"""A small stand-in for a Weights & Biases server, on the loopback.

It is enough for the real client to log runs online, and it can go down, be slow and give errors.
It keeps what it was sent, and never a body of a request or a key.
"""

import base64
import contextlib
import gzip
import json
import re
import socket
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple
from urllib.parse import unquote, urlsplit

from stand_in_graphql import OPERATIONS, WrongError

HISTORY, SUMMARY = "wandb-history.jsonl", "wandb-summary.json"


class Request(NamedTuple):
    """A request without its header and body."""

    method: str
    path: str
    operation: str | None  # the name of a GraphQL operation
    status: int  # 0 where the connection was lost
    keyed: bool  # whether a key came with it
    at: float  # time.monotonic()


@dataclass
class Run:
    """A run; `lines` are its files of lines, which the client writes at offsets."""

    entity: str
    project: str
    id: str
    number: int
    name: str | None = None
    group: str | None = None
    job_type: str | None = None
    tags: list[str] = field(default_factory=list)
    notes: str | None = None
    sweep: str | None = None
    state: str = "running"
    exit_code: int | None = None
    raw_config: dict[str, Any] = field(default_factory=dict)
    raw_summary: str = "{}"
    lines: dict[str, list[str | None]] = field(default_factory=dict)
    files: dict[str, bytes] = field(default_factory=dict)
    upserts: int = 0

    @property
    def storage_id(self) -> str:
        return base64.b64encode(f"Run:v1:{self.id}:{self.project}:{self.entity}".encode()).decode()

    @property
    def history(self) -> list[str]:
        """The lines of the history, without the holes that offsets may leave."""
        return [line for line in self.lines.get(HISTORY, []) if line is not None]

    @property
    def rows(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.history]

    @property
    def summary(self) -> dict[str, Any]:
        return json.loads(self.raw_summary)

    @property
    def config(self) -> dict[str, Any]:
        """The config without the client's wrapping and without its own key."""
        return {
            name: entry["value"] if isinstance(entry, dict) and "value" in entry else entry
            for name, entry in self.raw_config.items()
            if name != "_wandb"
        }

    def write(self, name: str, offset: int, content: list[str]) -> None:
        """Put lines at an offset, over what is there; a chunk that is sent twice changes nothing."""
        if name == SUMMARY:
            self.raw_summary = content[-1]
            return
        lines = self.lines.setdefault(name, [])
        lines.extend([None] * (offset - len(lines)))
        lines[offset : offset + len(content)] = content


@dataclass
class Artifact:
    """An artifact: its manifest and its files by their names in it."""

    id: str
    entity: str
    project: str
    run: str | None
    name: str
    type: str
    digest: str
    version: int
    aliases: list[str]
    metadata: Any = None
    description: str | None = None
    state: str = "PENDING"
    manifest: dict[str, Any] = field(default_factory=dict)
    files: dict[str, bytes] = field(default_factory=dict)


# A server may do one of these in place of an answer.
MISBEHAVIOURS = ("hang", "hang after the headers", "close in the body", "redirect", "garbage", "endless body")


@dataclass
class Fault:
    """An error, a delay or a misbehaviour that some requests get."""

    status: int | None
    where: str | None
    operation: str | None
    after: int
    times: int | None
    retry_after: float | None
    seconds: float
    misbehaviour: str = ""
    seen: int = 0
    hits: int = 0

    def strikes(self, where: str, operation: str | None) -> bool:
        if where == "telemetry" or self.where not in (None, where) or self.operation not in (None, operation):
            return False
        self.seen += 1
        struck = self.seen > self.after and (self.times is None or self.hits < self.times)
        self.hits += struck
        return struck


class StandIn:
    """The server: `with StandIn() as server`, then `server.url` for WANDB_BASE_URL.

    `again` says what becomes of the history of a run whose id is started anew without `resume`. The client
    then writes on from the `historyLineCount` that it is told, its steps from 0 again. A server that has
    counted the old lines says how many ("append": the old rows stay and the new ones follow); one that has
    not yet, says 0 ("overlay": new lines replace old ones, and what was longer stays). The real one counts
    some seconds late, so both happen. "truncate", which forgets the old ones, is what one would wish for.
    """

    def __init__(self, again: str = "append", features: tuple[str, ...] = ()) -> None:
        if again not in ("overlay", "append", "truncate"):
            raise ValueError(again)
        self.again = again
        self.lock = threading.RLock()
        self.features = features
        self.requests: list[Request] = []
        self.errors: list[str] = []  # unknown operations, and errors of the stand-in itself
        self.projects: set[tuple[str, str]] = set()
        self.all_runs: dict[tuple[str, str, str], Run] = {}
        self.artifacts: dict[str, Artifact] = {}
        self.views: dict[str, dict[str, Any]] = {}
        self.clients: dict[str, str] = {}  # an artifact's id at its client -> here
        self.faults: list[Fault] = []
        self.numbers = iter(range(1, 10**9))
        self._port = 0
        self._httpd: _Server | None = None
        self._down = threading.Event()

    def __enter__(self) -> "StandIn":
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._port}"

    @property
    def runs(self) -> dict[str, Run]:
        with self.lock:
            return {run.id: run for run in self.all_runs.values()}

    def run_of(self, storage_id: str) -> Run | None:
        """The run of the id that the API calls its storage id."""
        try:
            _, _, run, project, entity = base64.b64decode(storage_id).decode().split(":")
        except ValueError:
            return None
        return self.all_runs.get((entity, project, run))

    def rows(self, run_id: str) -> list[dict[str, Any]]:
        return self.runs[run_id].rows

    def start(self) -> None:
        """Listen, on the same port each time."""
        self._down.clear()
        self._httpd = _Server(("127.0.0.1", self._port), _Handler, self)
        self._port = self._httpd.server_address[1]
        threading.Thread(target=self._httpd.serve_forever, args=(0.02,), name="stand-in").start()

    def stop(self) -> None:
        """Stop listening and cut every connection; what was sent is kept."""
        httpd, self._httpd = self._httpd, None
        if httpd is not None:
            self._down.set()
            httpd.shutdown()
            httpd.cut()
            httpd.server_close()

    def fail(
        self,
        status: int,
        *,
        where: str | None = None,
        operation: str | None = None,
        after: int = 0,
        times: int | None = None,
        retry_after: float | None = None,
    ) -> Fault:
        """Give `times` requests this status, from the one after the next `after`.

        `where` is "graphql", "file_stream" or "files", and `operation` a GraphQL operation's name.
        """
        return self._add(Fault(status, where, operation, after, times, retry_after, 0.0))

    def slow(
        self, seconds: float, *, where: str | None = None, operation: str | None = None, after: int = 0,
        times: int | None = None,
    ) -> Fault:  # fmt: skip
        """Make requests wait for their answers."""
        return self._add(Fault(None, where, operation, after, times, None, seconds))

    def misbehave(self, how: str, *, where: str | None = None, operation: str | None = None) -> Fault:
        """Make requests meet one of `MISBEHAVIOURS`."""
        if how not in MISBEHAVIOURS:
            raise ValueError(how)
        return self._add(Fault(None, where, operation, 0, None, None, 0.0, how))

    def heal(self) -> None:
        """Take every fault away."""
        with self.lock:
            self.faults.clear()

    def _add(self, fault: Fault) -> Fault:
        with self.lock:
            self.faults.append(fault)
        return fault

    def strike(self, where: str, operation: str | None) -> tuple[int | None, float | None, str]:
        """Wait for the delays of all faults; return the first status, its Retry-After, and a misbehaviour."""
        with self.lock:
            struck = [fault for fault in self.faults if fault.strikes(where, operation)]
        self._down.wait(sum(fault.seconds for fault in struck))
        failing = next((fault for fault in struck if fault.status is not None), None)
        misbehaviour = next((fault.misbehaviour for fault in struck if fault.misbehaviour), "")
        return (failing.status, failing.retry_after, "") if failing else (None, None, misbehaviour)

    def wait_until_down(self, seconds: float) -> bool:
        """Return whether the server was stopped meanwhile."""
        return self._down.wait(seconds)

    def graphql(self, query: str, variables: dict[str, Any]) -> tuple[int, Any]:
        operation = operation_of(query)
        answer: Callable[..., Any] | None = OPERATIONS.get(operation or "")
        try:
            if answer is None:
                raise WrongError(f"no operation {operation}")
            with self.lock:
                return 200, {"data": answer(self, variables, query)}
        except WrongError as wrong:
            self.errors.append(str(wrong))
            return 400, {"errors": [{"message": str(wrong)}]}

    def file_stream(self, path: tuple[str, str, str], body: dict[str, Any]) -> tuple[int, Any]:
        with self.lock:
            run = self.all_runs.get(path)
            if run is None:
                return 404, {"error": "run not found"}
            for name, chunk in (body.get("files") or {}).items():
                run.write(name, chunk["offset"], chunk["content"])
            if body.get("complete"):
                run.exit_code = body.get("exitcode", 0)
                run.state = "failed" if run.exit_code else "finished"
            else:
                run.state = "running"
            return 200, {"exitcode": None, "limits": {}}

    def put(self, kind: str, owner: str, name: str, body: bytes) -> int:
        """Keep an uploaded file of a run or of an artifact."""
        with self.lock:
            if kind == "run":
                run = self.run_of(owner)
                if run is None:
                    return 404
                run.files[name] = body
            elif owner not in self.artifacts:
                return 404
            elif kind == "manifest":
                self.artifacts[owner].manifest = json.loads(body)
            else:
                self.artifacts[owner].files[name] = body
        return 200

    def get(self, kind: str, owner: str, name: str) -> bytes | None:
        with self.lock:
            if kind == "run":
                run = self.run_of(owner)
                return None if run is None else run.files.get(name)
            artifact = self.artifacts.get(owner)
            if artifact is None:
                return None
            return json.dumps(artifact.manifest).encode() if kind == "manifest" else artifact.files.get(name)


def operation_of(query: str) -> str | None:
    """The name of a document's operation."""
    found = re.search(r"\b(?:query|mutation)\s+(\w+)", query)
    return found.group(1) if found else None


class _Server(ThreadingHTTPServer):
    daemon_threads = False  # so that server_close() waits for them
    request_queue_size = 128

    def __init__(self, address: tuple[str, int], handler: type, stand_in: StandIn) -> None:
        self.stand_in = stand_in
        self.sockets: set[socket.socket] = set()
        super().__init__(address, handler)

    def process_request(self, request: Any, client_address: Any) -> None:
        self.sockets.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        self.sockets.discard(request)
        super().shutdown_request(request)

    def cut(self) -> None:
        """Wake the threads that wait for the next request of a kept connection."""
        for connection in list(self.sockets):
            with contextlib.suppress(OSError):  # it may be gone by itself
                connection.shutdown(socket.SHUT_RDWR)

    def handle_error(self, request: Any, client_address: Any) -> None:
        error = sys.exception()
        if not isinstance(error, OSError):  # a lost connection is no mistake
            self.stand_in.errors.append(repr(error))


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"  # the client keeps its connections
    wbufsize = -1
    disable_nagle_algorithm = True
    server: _Server

    def log_message(self, *_: object) -> None:
        pass

    def do_GET(self) -> None:
        self._answer()

    do_POST = do_PUT = do_GET  # noqa: N815

    def _body(self) -> bytes:
        if self.headers.get("Transfer-Encoding", "").lower() == "chunked":
            parts = []
            while size := int(self.rfile.readline().split(b";")[0], 16):
                parts.append(self.rfile.read(size))
                self.rfile.readline()
            self.rfile.readline()
            body = b"".join(parts)
        else:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        return gzip.decompress(body) if self.headers.get("Content-Encoding") == "gzip" else body

    def _answer(self) -> None:
        """Answer one request, and keep that it came."""
        stand_in, path = self.server.stand_in, unquote(urlsplit(self.path).path)
        keyed = bool(self.headers.get("Authorization"))
        operation, status = None, 0
        try:
            body = self._body()
            where, asked = "files", {}
            if path.startswith("/sdk/otel/"):
                where = "telemetry"  # the client's own counters, which it sends without a key
            if path == "/graphql":
                where, asked = "graphql", json.loads(body)
                operation = operation_of(asked["query"])
            elif path.endswith("/file_stream"):
                where, asked = "file_stream", json.loads(body)
            failing, retry_after, misbehaviour = stand_in.strike(where, operation)
            if misbehaviour:
                self._misbehave(misbehaviour)
                return
            if failing is not None:
                status, said = failing, {"errors": [{"message": f"status {failing}"}], "error": "a fault"}
            elif where == "telemetry":
                status, said = 200, {}
            elif where != "files" and not keyed:
                status, said = 401, {"errors": [{"message": "no key"}]}
            elif where == "graphql":
                status, said = stand_in.graphql(asked["query"], asked.get("variables") or {})
            elif where == "file_stream":
                _, _, entity, project, run, _ = path.split("/")
                status, said = stand_in.file_stream((entity, project, run), asked)
            else:
                status, said = self._file(path, body)
            self._send(status, said, retry_after)
        except OSError:
            status = 0
            raise
        finally:
            with stand_in.lock:
                stand_in.requests.append(
                    Request(self.command, path, operation, status, keyed, time.monotonic())
                )

    def _file(self, path: str, body: bytes) -> tuple[int, Any]:
        _, storage, kind, owner, name = [*path.split("/", 4), "", "", "", ""][:5]
        if storage != "storage":
            self.server.stand_in.errors.append(f"no path {path}")
            return 404, {}
        if self.command == "PUT":
            return self.server.stand_in.put(kind, owner, name, body), {}
        found = self.server.stand_in.get(kind, owner, name)
        return (404, {}) if found is None else (200, found)

    def _misbehave(self, how: str) -> None:
        """Do one of `MISBEHAVIOURS`, until the server is stopped if it has no end."""
        self.close_connection = True
        if how == "hang":
            self.server.stand_in.wait_until_down(60)
            return
        self.send_response(302 if how == "redirect" else 200)
        self.send_header("Location", f"{self.server.stand_in.url}{self.path}")
        self.send_header("Content-Type", "application/json")
        if how != "endless body":
            self.send_header("Content-Length", "4000")
        self.end_headers()
        self.wfile.flush()
        if how == "hang after the headers":
            self.server.stand_in.wait_until_down(60)
        elif how == "close in the body":
            self.wfile.write(b'{"data": {')
        elif how == "endless body":
            while not self.server.stand_in.wait_until_down(0.01):
                self.wfile.write(b" " * 100_000)
                self.wfile.flush()
        else:
            self.wfile.write(bytes(range(250)) * 16)

    def _send(self, status: int, said: Any, retry_after: float | None) -> None:
        data = said if isinstance(said, bytes) else json.dumps(said).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        if retry_after is not None:
            self.send_header("Retry-After", f"{retry_after:g}")
        self.end_headers()
        self.wfile.write(data)
        self.wfile.flush()
