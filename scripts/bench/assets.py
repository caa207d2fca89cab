# SPDX-License-Identifier: MIT
"""What servers need for some profiles: files to serve, and a certificate. Made when they are first
needed, in a folder that is gone at the end."""
import os
import shutil
import subprocess
import tempfile

from .errors import BenchError
from .profiles import file_content

NAMES = "subjectAltName=DNS:localhost,IP:127.0.0.1"


class Needs:
    """Of one start of a server: paths, or "" where there is no need."""

    def __init__(self, www="", cert="", key=""):
        self.www, self.cert, self.key = www, cert, key


class Assets:
    def __init__(self):
        self.folder = None

    def place(self, name):
        if not self.folder:
            self.folder = tempfile.mkdtemp(prefix="bivalve-bench-")
            os.chmod(self.folder, 0o755)  # for a server that gives up its privileges
        return os.path.join(self.folder, name)

    def needs(self, profiles):
        """For a server that will be asked for these profiles."""
        sizes = set().union(*(p.files() for p in profiles))
        tls = {p.tls for p in profiles}
        assert len(tls) <= 1
        cert, key = self.pair() if True in tls else ("", "")
        return Needs(self.files(sizes) if sizes else "", cert, key)

    def files(self, sizes):
        www = self.place("www")
        os.makedirs(www, exist_ok=True)
        for size in sizes:
            path = os.path.join(www, f"{size}.txt")
            if not os.path.exists(path):
                with open(path, "w", encoding="ascii") as f:
                    f.write(file_content(size))
        return www

    def pair(self):
        """(certificate, key), P-256, by the openssl program."""
        cert, key = self.place("cert.pem"), self.place("key.pem")
        if os.path.exists(cert):
            return cert, key
        argv = ["openssl", "req", "-x509", "-nodes", "-newkey", "ec", "-pkeyopt"]
        argv += ["ec_paramgen_curve:P-256", "-days", "7", "-subj", "/CN=localhost"]
        argv += ["-addext", NAMES, "-keyout", key, "-out", cert]
        try:
            done = subprocess.run(argv, stdin=subprocess.DEVNULL, capture_output=True, check=False)
        except OSError as e:
            raise BenchError(
                f"a profile with TLS needs a certificate, and cannot run openssl: {e.strerror}"
            ) from None
        if done.returncode:
            raise BenchError(f"openssl makes no certificate: {done.stderr.decode()[-300:]}")
        return cert, key

    def close(self):
        if self.folder:
            shutil.rmtree(self.folder, ignore_errors=True)
