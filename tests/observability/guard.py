"""What a gateway of the live test has beside its sources: receivers of its own alerts; and, for one of them, an admin
listener with a certificate and a token of the scrape, and a secret in a vault."""

from __future__ import annotations

import base64
import ssl
import subprocess
from dataclasses import dataclass
from pathlib import Path

from stubs import Vault

WHSEC = "whsec_" + base64.b64encode(b"a-key-of-alerts-of-32-bytes-long").decode()
SCRAPE_TOKEN = "a-scrape-token-of-32-bytes-length"


@dataclass(frozen=True)
class More:
    """More of a gateway's configuration: lines of `sluice.toml`, the files that these refer to, what a scrape presents and
    trusts, and where the secret of the source `pay` is."""

    main: str
    files: dict[str, str]
    admin: str = ""
    token: str | None = None
    ca: Path | None = None
    pay: str = "file:secret"

    def context(self) -> ssl.SSLContext | None:
        return ssl.create_default_context(cafile=str(self.ca)) if self.ca else None


def alerts(origin: str) -> More:
    """A receiver that takes what it is told, and one that is not there any more."""
    main = "[alerts]\ndead_letters = 1\n"
    for name in ("taken", "gone"):
        main += f'[[alerts.receivers]]\nname = "{name}"\nwebhook = "{origin}/{name}"\nsecret = "file:alerts.secret"\n'
    return More(main, {"alerts.secret": WHSEC})


def guarded(origin: str, vault: str, folder: Path) -> More:
    """The same, and all the rest; `folder` is for the certificates."""
    ca, cert, key = authority(folder)
    plain = alerts(origin)
    return More(
        main=f'{plain.main}[secrets.vault]\naddress = "{vault}"\ntoken = "file:vault.token"\n',
        files={**plain.files, "vault.token": Vault.TOKEN, "scrape.token": SCRAPE_TOKEN},
        admin=f'tls = {{ cert = "file:{cert}", key = "file:{key}" }}\nscrape_token = "file:scrape.token"\n',
        token=SCRAPE_TOKEN,
        ca=ca,
        pay="vault:secret/data/acme#pay",
    )


def authority(folder: Path) -> tuple[Path, Path, Path]:
    """A certificate authority, and a certificate of the loopback address with its key."""
    folder.mkdir()
    ca, ca_key, cert, key = (folder / name for name in ("ca.pem", "ca.key", "tls.pem", "tls.key"))

    def openssl(common_name: str, key: Path, cert: Path, *more: str) -> None:
        new = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "30"]
        names = ["-subj", f"/CN={common_name}", "-keyout", str(key), "-out", str(cert)]
        subprocess.run([*new, *names, *more], check=True, stderr=subprocess.DEVNULL)

    openssl("authority", ca_key, ca)
    leaf = ("-addext", "subjectAltName=IP:127.0.0.1", "-addext", "basicConstraints=critical,CA:FALSE")
    openssl("gateway", key, cert, *leaf, "-CA", str(ca), "-CAkey", str(ca_key))
    return ca, cert, key
