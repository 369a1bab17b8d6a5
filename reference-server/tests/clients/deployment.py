"""The ways in which `wst` is deployed, each as a context: with a certificate of its own, and behind nginx and Caddy with the shipped files."""

import shutil
import socket
import ssl
import time
from pathlib import Path

import process
import wst

HOST = "agents.example.com"
SHIPPED = Path(__file__).resolve().parents[2] / "deploy"
START_SECONDS = 20
PUBLIC = ["--public-url", f"https://{HOST}", "--mcp-domain", f"mcp.{HOST}"]


class Authority:
    """A certificate authority that nobody but the test believes."""

    def __init__(self, folder):
        self.folder = Path(folder)
        self.folder.mkdir()
        self.certificate = self.folder / "ca.pem"
        self._openssl("req", "-x509", *KEY, "-keyout", "ca.key", "-out", "ca.pem", "-days", "2", "-subj", "/CN=Test CA",
                      "-addext", "keyUsage=critical,keyCertSign")

    def issue(self, folder):
        """Puts a wildcard certificate and its key into `folder`, in place of those that are there."""
        folder.mkdir(exist_ok=True)
        extensions = self.folder / "extensions"
        extensions.write_text(f"subjectAltName=DNS:{HOST},DNS:*.mcp.{HOST}\nextendedKeyUsage=serverAuth\n")
        self._openssl("req", *KEY, "-keyout", "key.pem", "-out", "request.pem", "-subj", f"/CN={HOST}")
        self._openssl("x509", "-req", "-in", "request.pem", "-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial",
                      "-days", "2", "-extfile", extensions, "-out", "cert.pem")
        for name in ("key.pem", "cert.pem"):
            (self.folder / name).replace(folder / name)

    def context(self):
        return ssl.create_default_context(cafile=self.certificate)

    def _openssl(self, *words):
        done = process.run(["openssl", *words], timeout=30, cwd=self.folder)
        if done.code != 0:
            raise RuntimeError(f"openssl {words[0]}: {done.output[-1000:]}")


class Direct:
    """`wst` on the port of https."""

    name = "direct"
    missing = None
    logs = []

    def __init__(self, binary, folder, authority):
        self.tls = folder / "tls"
        authority.issue(self.tls)
        certificate = ["--tls-cert", self.tls / "cert.pem", "--tls-key", self.tls / "key.pem"]
        self.server = wst.Server(binary, folder, ["--listen", "127.0.0.1:443", *certificate, *PUBLIC])

    def __enter__(self):
        self.server.__enter__()
        return self

    def __exit__(self, *error):
        self.server.__exit__(*error)


class Proxied:
    """`wst` on loopback, and in front of it a proxy that has the shipped file."""

    def __init__(self, binary, folder, authority):
        self.folder = folder
        self.log = folder / "wst.access.log"
        # Told by itself, with what goes wrong.
        self.output = folder / "output"
        self.logs = [self.log, self.output]
        authority.issue(folder / "tls")
        options = ["--listen", "127.0.0.1:8080", "--trusted-proxy", "127.0.0.1", "--trusted-proxy", "::1", *PUBLIC]
        self.server = wst.Server(binary, folder / "server", options)

    def place(self, path):
        """Returns a shipped file, in which nothing is changed but where things lie."""
        text = Path(SHIPPED, path).read_text()
        text = text.replace("/etc/ssl/wst", str(self.folder / "tls"))
        for folder in ("/var/log/nginx", "/var/log/caddy"):
            text = text.replace(folder, str(self.folder))
        if not Path("/proc/net/if_inet6").exists():
            text = "\n".join(line for line in text.splitlines() if "listen [::]" not in line)
        placed = self.folder / Path(path).name
        placed.write_text(text)
        return placed

    def __enter__(self):
        self.server.__enter__()
        with open(self.output, "wb") as output:
            environment = process.clean_environment(self.folder)
            self.proxy = process.start(self.command(), env=environment, stdout=output, stderr=output)
        try:
            self._wait_until_listening()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_):
        process.stop(self.proxy)
        self.server.__exit__()

    def _wait_until_listening(self):
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline and self.proxy.poll() is None:
            try:
                socket.create_connection(("127.0.0.1", 443), timeout=1).close()
                return
            except OSError:
                time.sleep(0.05)
        raise RuntimeError(f"the proxy does not listen:\n{self.output.read_text(errors='replace')[-2000:]}")


class Nginx(Proxied):
    name = "behind nginx"
    program = shutil.which("nginx", path="/usr/local/sbin:/usr/sbin:/usr/local/bin:/usr/bin")
    missing = None if program else "nginx is not installed"

    def command(self):
        main = self.folder / "nginx.conf"
        # What distributions ship around the file, at its noisiest.
        main.write_text(
            f"daemon off; pid {self.folder}/nginx.pid; error_log stderr info;\n"
            f"events {{}}\nhttp {{ include {self.place('nginx/wst.conf')}; }}\n"
        )
        self.logs.append(self.folder / "wst.error.log")
        return [self.program, "-e", "stderr", "-p", self.folder, "-c", main]


class Caddy(Proxied):
    name = "behind Caddy"
    program = shutil.which("caddy")
    missing = None if program else "Caddy is not installed"

    def command(self):
        return [self.program, "run", "--adapter", "caddyfile", "--config", self.place("caddy/Caddyfile")]


KEY = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
DEPLOYMENTS = (Direct, Nginx, Caddy)
