"""A small server of a motion JPEG stream on the loopback: a network camera for tests."""

from __future__ import annotations

import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import cv2
import numpy as np


class StreamServer:
    """Sends numbered grey pictures until it is stopped; ``start`` and ``stop`` may alternate.

    Picture ``n`` is grey of level ``n % 200 + 20``.
    """

    def __init__(self, fps: float = 30, size: tuple[int, int] = (64, 48)) -> None:
        self.fps, self.size, self.port, self.server = fps, size, 0, None

    @property
    def url(self) -> str:
        return f'http://127.0.0.1:{self.port}/stream.mjpg'

    def start(self) -> None:
        outer = self
        self.running = threading.Event()
        self.running.set()

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self.send_response(200)
                kind = 'multipart/x-mixed-replace; boundary=frame'
                self.send_header('Content-Type', kind)
                self.end_headers()
                number = 0
                while outer.running.is_set():
                    picture = np.full((*outer.size[::-1], 3), number % 200 + 20, np.uint8)
                    data = cv2.imencode('.jpg', picture)[1].tobytes()
                    head = '--frame\r\nContent-Type: image/jpeg\r\n'
                    head += f'Content-Length: {len(data)}\r\n\r\n'
                    try:
                        self.wfile.write(head.encode() + data + b'\r\n')
                    except OSError:
                        return
                    number += 1
                    time.sleep(1 / outer.fps)

            def log_message(self, *args) -> None:
                pass

        ThreadingHTTPServer.allow_reuse_address = True
        ThreadingHTTPServer.daemon_threads = True
        self.server = ThreadingHTTPServer(('127.0.0.1', self.port), Handler)
        self.port = self.server.server_port
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def stop(self) -> None:
        self.running.clear()
        self.server.shutdown()
        self.server.server_close()
