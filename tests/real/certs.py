"""An authority, and what it signs, made by openssl for one run."""

import subprocess

CONFIG = """[ca]
default_ca = here
[here]
new_certs_dir   = .
database        = index.txt
rand_serial     = yes
default_md      = sha256
policy          = names
copy_extensions = copy
unique_subject  = no
[names]
commonName = supplied
"""
EC = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]


class Authority:
    """Signs certificates for localhost, valid ones and some whose time is over."""

    def __init__(self, folder, name):
        self.folder = folder
        folder.mkdir(parents=True)
        (folder / "ca.cnf").write_text(CONFIG)
        (folder / "index.txt").touch()
        self.openssl("req", "-x509", *EC, "-days", "30", "-subj", f"/CN={name}", "-keyout", "ca.key", "-out", "ca.pem")
        self.ca = folder / "ca.pem"

    def openssl(self, *words):
        done = subprocess.run(["openssl", *words], cwd=self.folder, capture_output=True, text=True)
        if done.returncode != 0:
            raise AssertionError(f"openssl {words[0]}: {done.stderr[-600:]}")

    def sign(self, name, start="20260101000000Z", end="20991231000000Z"):
        """A key and a certificate; (certificate, key), and both in NAME.both for a broker."""
        self.openssl("req", *EC, "-subj", f"/CN={name}", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1",
                     "-keyout", f"{name}.key", "-out", f"{name}.csr")
        self.openssl("ca", "-batch", "-notext", "-config", "ca.cnf", "-cert", "ca.pem", "-keyfile", "ca.key",
                     "-startdate", start, "-enddate", end, "-in", f"{name}.csr", "-out", f"{name}.pem")
        cert, key = self.folder / f"{name}.pem", self.folder / f"{name}.key"
        (self.folder / f"{name}.both").write_text(key.read_text() + cert.read_text())
        return cert, key

    def expired(self, name):
        return self.sign(name, "20250101000000Z", "20250201000000Z")

    def lock(self, key, password):
        """The same key, encrypted."""
        locked = key.with_suffix(".locked")
        self.openssl("pkey", "-in", str(key), "-aes256", "-passout", f"pass:{password}", "-out", str(locked))
        return locked
