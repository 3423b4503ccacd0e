"""A registry of images on loopback: the part of the OCI distribution protocol that a pull needs."""

from __future__ import annotations

import contextlib
import gzip
import hashlib
import io
import json
import platform
import tarfile
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

MANIFEST = "application/vnd.oci.image.manifest.v1+json"
SIF_LAYER = "application/vnd.sylabs.sif.layer.v1.sif"
SIF_CONFIG = "application/vnd.sylabs.sif.config.v1+json"


@dataclass
class Registry:
    """address: HOST:PORT. asked: the paths that were got. Until go is set, no layer is sent whole."""

    address: str
    answers: dict[str, tuple[str, bytes]] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)
    slow: set[str] = field(default_factory=set)
    begun: threading.Event = field(default_factory=threading.Event)
    go: threading.Event = field(default_factory=threading.Event)

    def _blob(self, name: str, kind: str, data: bytes) -> dict[str, object]:
        digest = f"sha256:{hashlib.sha256(data).hexdigest()}"
        self.answers[f"/v2/{name}/blobs/{digest}"] = ("application/octet-stream", data)
        return {"mediaType": kind, "digest": digest, "size": len(data)}

    def _manifest(self, name: str, tag: str, config: dict[str, object], layer: dict[str, object]) -> None:
        text = {"schemaVersion": 2, "mediaType": MANIFEST, "config": config, "layers": [layer]}
        data = json.dumps(text).encode()
        for at in (tag, f"sha256:{hashlib.sha256(data).hexdigest()}"):
            self.answers[f"/v2/{name}/manifests/{at}"] = (MANIFEST, data)

    def add_sif(self, name: str, tag: str, sif: bytes, *, slow: bool = False) -> str:
        """A SIF as Apptainer pushes one; returns its reference."""
        layer = {
            **self._blob(name, SIF_LAYER, sif),
            "annotations": {"org.opencontainers.image.title": "image.sif"},
        }
        if slow:
            self.slow.add(f"/v2/{name}/blobs/{layer['digest']}")
        self._manifest(name, tag, self._blob(name, SIF_CONFIG, b"{}"), layer)
        return f"oras://{self.address}/{name}:{tag}"

    def add_docker(self, name: str, tag: str, contents: dict[str, bytes], env: list[str]) -> str:
        """An image of one layer with these files; returns its reference."""
        packed = io.BytesIO()
        with tarfile.open(fileobj=packed, mode="w") as tar:
            for path, data in contents.items():
                entry = tarfile.TarInfo(path)
                entry.size, entry.mode = len(data), 0o755
                tar.addfile(entry, io.BytesIO(data))
        plain = packed.getvalue()
        layer = self._blob(name, "application/vnd.oci.image.layer.v1.tar+gzip", gzip.compress(plain))
        architecture = {"x86_64": "amd64", "aarch64": "arm64"}.get(platform.machine(), platform.machine())
        config = {
            "architecture": architecture,
            "os": "linux",
            "config": {"Env": env, "Cmd": ["/hello"]},
            "rootfs": {"type": "layers", "diff_ids": [f"sha256:{hashlib.sha256(plain).hexdigest()}"]},
        }
        kind = "application/vnd.oci.image.config.v1+json"
        self._manifest(name, tag, self._blob(name, kind, json.dumps(config).encode()), layer)
        return f"docker://{self.address}/{name}:{tag}"


@contextlib.contextmanager
def serving() -> Iterator[Registry]:
    """A registry without images, until the end of the block."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            registry.asked.append(self.path)
            kind, data = registry.answers.get(self.path, ("application/json", b""))
            if self.path == "/v2/":
                data = b"{}"
            self.send_response(200 if data else 404)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(data)))
            if kind == MANIFEST:
                self.send_header("Docker-Content-Digest", f"sha256:{hashlib.sha256(data).hexdigest()}")
            self.end_headers()
            if self.command == "HEAD":
                return
            if self.path in registry.slow:
                self.wfile.write(data[: len(data) // 2])
                self.wfile.flush()
                registry.begun.set()
                registry.go.wait()
                data = data[len(data) // 2 :]
            self.wfile.write(data)

        do_HEAD = do_GET

        def log_message(self, format: str, *args: object) -> None:
            pass

        def handle(self) -> None:
            with contextlib.suppress(OSError):  # who asked was killed
                super().handle()

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    registry = Registry(f"127.0.0.1:{server.server_address[1]}")
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield registry
    finally:
        registry.go.set()
        server.shutdown()
        server.server_close()
        thread.join()
