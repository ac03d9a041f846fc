"""A Space's page, served by a process of its own as a Space serves it."""

import contextlib
import os
import socket
import subprocess
import sys
import time
import urllib.request


@contextlib.contextmanager
def serving(app, *, python=sys.executable, **environment):
    """The address of the running app; it is stopped in the end."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    settings = {"GRADIO_SERVER_PORT": str(port), "GRADIO_ANALYTICS_ENABLED": "False", **environment}
    process = subprocess.Popen([str(python), str(app)], env=os.environ | settings)
    address = f"http://127.0.0.1:{port}/"
    try:
        deadline = time.monotonic() + 240
        while time.monotonic() < deadline and process.poll() is None:
            with contextlib.suppress(OSError), urllib.request.urlopen(address, timeout=5):
                break
            time.sleep(0.3)
        assert process.poll() is None, "the app did not start"
        yield address
    finally:
        process.terminate()
        process.wait(30)
