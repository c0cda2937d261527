"""The end of a task process wakes its supervisor, and one TLS connection serves many tasks."""

from __future__ import annotations

import contextlib
import importlib.util
import os
import selectors
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx
import pytest

SOURCE = Path(__file__).parents[2] / "roles/airflow_runtime/files/runtime/airflow_celery_cluster/supervision.py"
spec = importlib.util.spec_from_file_location("supervision", SOURCE)
assert spec and spec.loader
supervision = importlib.util.module_from_spec(spec)
spec.loader.exec_module(supervision)

# Longer than any test waits: only the end of the process can wake the supervisor earlier.
HEARTBEAT_INTERVAL = 60


class Supervisor:
    """Waits as Airflow's supervisor does: for what its selector has, then it asks whether the process has ended."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self.process = process
        self.pid = process.pid
        self.selector = selectors.DefaultSelector()
        assert process.stdout
        # Handler, and what unregisters the file, as Airflow registers its sockets.
        self.selector.register(process.stdout, selectors.EVENT_READ, (self._read, self.selector.unregister))
        self.started = ""

    def start(self, message: str) -> None:
        self.started = message

    @staticmethod
    def _read(stream: Any) -> bool:
        return bool(os.read(stream.fileno(), 100))

    def wait(self) -> int:
        while self.process.poll() is None:
            for key, _events in self.selector.select(timeout=HEARTBEAT_INTERVAL):
                handler, on_close = key.data
                if not handler(key.fileobj):
                    on_close(key.fileobj)
                    key.fileobj.close()  # type: ignore[union-attr]
        return self.process.returncode


@pytest.mark.parametrize("seconds", [0.0, 0.3])
def test_the_end_of_the_process_wakes_the_supervisor(seconds: float) -> None:
    # It closes what the supervisor reads, and ends later: nothing else tells the supervisor.
    code = f"import os, time; os.close(1); time.sleep({seconds}); os._exit(3)"
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE) as process:
        supervisor = Supervisor(process)
        supervision.wake_at_end(Supervisor.start)(supervisor, message="begin")
        begun = time.monotonic()
        assert supervisor.wait() == 3
        assert time.monotonic() - begun < HEARTBEAT_INTERVAL / 2
        assert supervisor.started == "begin"


def open_files() -> set[str]:
    return {path.name for path in Path("/proc/self/fd").iterdir() if path.exists()}


def test_an_end_that_is_seen_otherwise_leaves_no_file_open() -> None:
    before = open_files()
    with subprocess.Popen([sys.executable, "-c", ""], stdout=subprocess.PIPE) as process:
        supervisor = Supervisor(process)
        supervision.wake_at_end(Supervisor.start)(supervisor, "begin")
        process.wait()
        supervisor.selector.close()
        del supervisor
    assert open_files() == before


class ExecutionApi(ThreadingHTTPServer):
    """A TLS server that counts its connections."""

    daemon_threads = True

    def __init__(self, certificate: Path, port: int = 0) -> None:
        super().__init__(("127.0.0.1", port), Handler)
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.load_cert_chain(certificate)
        self.connections: list[ssl.SSLSocket] = []
        self.thread = threading.Thread(target=self.serve_forever)
        self.thread.start()

    def get_request(self) -> tuple[ssl.SSLSocket, Any]:
        plain, address = super().get_request()
        connection = self.context.wrap_socket(plain, server_side=True)
        self.connections.append(connection)
        return connection, address

    def stop(self) -> None:
        self.shutdown()
        self.thread.join()
        for connection in self.connections:
            connection.close()
        self.server_close()


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        body = (self.headers["Authorization"] or "").encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_arguments: object) -> None:
        pass


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tls")
    subprocess.run(
        [
            *(
                "openssl",
                "req",
                "-x509",
                "-newkey",
                "ec",
                "-pkeyopt",
                "ec_paramgen_curve:P-256",
                "-nodes",
                "-days",
                "1",
            ),
            *("-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1"),
            *("-keyout", folder / "key.pem", "-out", folder / "certificate.pem"),
        ],
        check=True,
        capture_output=True,
    )
    both = folder / "both.pem"
    both.write_text((folder / "key.pem").read_text() + (folder / "certificate.pem").read_text())
    return both


@pytest.fixture
def server(certificate: Path) -> Iterator[ExecutionApi]:
    running = ExecutionApi(certificate)
    yield running
    running.stop()


@pytest.fixture
def transport(certificate: Path) -> Iterator[Any]:
    supervision._connections.clear()
    kept = supervision.KeptTransport(verify=ssl.create_default_context(cafile=certificate), trust_env=False)
    yield kept
    super(supervision.KeptTransport, kept).close()


def ask(transport: Any, server: ExecutionApi, token: str) -> str:
    """Ask as the supervisor of one task does: with a client and a token of its own."""
    url = f"https://127.0.0.1:{server.server_port}"
    with contextlib.closing(httpx.Client(base_url=url, transport=transport)) as client:
        return client.get("/execution/health", headers={"Authorization": token}).text


def test_one_connection_serves_many_tasks(transport: Any, server: ExecutionApi) -> None:
    assert [ask(transport, server, token) for token in "abc"] == ["a", "b", "c"]
    assert len(server.connections) == 1


def test_a_server_that_starts_again_costs_no_request(transport: Any, server: ExecutionApi, certificate: Path) -> None:
    ask(transport, server, "a")
    server.stop()
    again = ExecutionApi(certificate, server.server_port)
    try:
        assert ask(transport, again, "b") == "b"
    finally:
        again.stop()
    # For the fixture
    server.__init__(certificate)  # type: ignore[misc]


def test_the_process_of_a_task_has_no_connection(transport: Any, server: ExecutionApi) -> None:
    ask(transport, server, "a")
    (connection,) = supervision._connections
    number = connection.fileno()
    child = os.fork()
    if child == 0:
        supervision.close_connections()
        os._exit(1 if Path(f"/proc/self/fd/{number}").exists() else 0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    # And the connection of the supervisor goes on.
    assert ask(transport, server, "b") == "b"
    assert len(server.connections) == 1
