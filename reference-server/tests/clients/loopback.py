"""An HTTP server on a free loopback port that serves in the background for as long as its context lasts."""

import sys
import threading
from http.server import ThreadingHTTPServer


class LoopbackServer(ThreadingHTTPServer):
    """Handlers find what they serve as `self.server.owner`."""

    daemon_threads = True
    # Handlers may still be busy with a client that has hung; they end with the process.
    block_on_close = False

    def __init__(self, handler, owner):
        super().__init__(("127.0.0.1", 0), handler)
        self.owner = owner

    @property
    def authority(self):
        host, port = self.server_address
        return f"{host}:{port}"

    def __enter__(self):
        threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
        return self

    def __exit__(self, *_):
        self.shutdown()
        self.server_close()

    def handle_error(self, request, client_address):
        # A client that goes away, or is stopped, is nothing to report.
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)
