"""Real Postgres and Redis servers on loopback, from Debian's packages; each can be killed and started again."""

from __future__ import annotations

import os
import pwd
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

PASSWORD = "secret"


def wait_for(what: Callable[[], Any], told: str, seconds: float = 150.0, pause: float = 0.3) -> Any:
    """What the function returns once that is true."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        if found := what():
            return found
        time.sleep(pause)
    raise AssertionError(f"waited {seconds} s for {told}")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@dataclass
class Service:
    """A database on a port of loopback."""

    command: list[str]
    port: int
    url: str
    user: str | None
    home: Path
    process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it, and wait until it takes connections."""
        with (self.home / "log").open("ab") as log:
            self.process = subprocess.Popen(
                self.command, stdout=log, stderr=subprocess.STDOUT, user=self.user, cwd=self.home
            )
        wait_for(self._answers, f"{self.command[0]}: {(self.home / 'log').read_text()[-500:]}", 60)

    def kill(self) -> None:
        """SIGKILL, as when the machine runs out of memory."""
        assert self.process is not None
        self.process.kill()
        self.process.wait()

    def stop(self) -> None:
        if self.process is not None and self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(10)
            except subprocess.TimeoutExpired:
                self.kill()

    def _answers(self) -> bool:
        assert self.process is not None
        if self.process.poll() is not None:  # after a kill Postgres waits for its last child, and says so by leaving
            with (self.home / "log").open("ab") as log:
                self.process = subprocess.Popen(
                    self.command, stdout=log, stderr=subprocess.STDOUT, user=self.user, cwd=self.home
                )
        try:
            socket.create_connection(("127.0.0.1", self.port), 1).close()
        except OSError:
            return False
        return True


@contextmanager
def postgres() -> Iterator[Service | None]:
    """A Postgres with the database `prefect`; None where none is installed."""
    folders = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda path: int(path.parent.name))
    found = shutil.which("initdb", path=os.pathsep.join([*map(str, reversed(folders)), os.environ["PATH"]]))
    if found is None:
        yield None
        return
    binaries = Path(found).resolve().parent
    user = _other_user("postgres") if os.geteuid() == 0 else None  # Postgres refuses to be root
    with _home(user) as home:
        (home / "password").write_text(PASSWORD)
        (home / "password").chmod(0o644)
        setup = [str(binaries / "initdb"), "-D", str(home / "data"), "-U", "gristmill", "--auth=scram-sha-256"]
        setup += [f"--pwfile={home}/password", "--no-sync", "--encoding=UTF8"]
        subprocess.run(setup, check=True, capture_output=True, user=user, cwd=home)
        port = free_port()
        command = [str(binaries / "postgres"), "-D", str(home / "data"), "-p", str(port)]
        command += ["-c", "listen_addresses=127.0.0.1", "-c", f"unix_socket_directories={home}"]
        url = f"postgresql+asyncpg://gristmill:{PASSWORD}@127.0.0.1:{port}/postgres"
        with _running(Service(command, port, url, user, home)) as service:
            yield service


@contextmanager
def redis() -> Iterator[Service | None]:
    """A Redis; None where none is installed."""
    found = shutil.which("redis-server")
    if found is None:
        yield None
        return
    with _home(None) as home:
        port = free_port()
        command = [found, "--bind", "127.0.0.1", "--port", str(port), "--appendonly", "yes", "--dir", str(home)]
        with _running(Service(command, port, f"redis://127.0.0.1:{port}/0", None, home)) as service:
            yield service


@contextmanager
def _home(user: str | None) -> Iterator[Path]:
    """A folder that belongs to the user, and no longer one than the path of a socket may be."""
    home = Path(tempfile.mkdtemp(prefix="gm-"))
    try:
        if user is not None:
            shutil.chown(home, user)
        yield home
    finally:
        shutil.rmtree(home, ignore_errors=True)


@contextmanager
def _running(service: Service) -> Iterator[Service]:
    try:
        service.start()
        yield service
    finally:
        service.stop()


def _other_user(wanted: str) -> str:
    names = {entry.pw_name for entry in pwd.getpwall()}
    return wanted if wanted in names else "nobody"
