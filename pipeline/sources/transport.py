"""Transport: one request for a range of bytes, over HTTP or S3, and its answer as it came.

What an answer means, and what to do about a bad one, is for `ranges.py` to say; here a request either is answered,
be it with an error, or raises Fault.
"""

from __future__ import annotations

import functools
import os
import urllib.request
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol
from urllib.parse import quote, unquote, urlsplit, urlunsplit

import urllib3
from urllib3.exceptions import HTTPError, NameResolutionError, NewConnectionError, SSLError

from pipeline import __version__
from pipeline.errors import GristmillError

PIECE = 256 << 10  # bytes asked of a body at a time
COMMON_CRAWL = "https://data.commoncrawl.org/"


class Fault(Exception):
    """A request that came to nothing, or an answer that cannot be used: it may be tried again.

    `throttled`: the server has had enough, so that everyone should slow down. `doubtful`: more likely the user's
    mistake than the server's mood, so a few tries must do. `wait`: seconds that the server asks for. `status`: of
    the answer, 0 where there was none.
    """

    def __init__(
        self, what: str, throttled: bool = False, doubtful: bool = False, wait: float = 0.0, status: int = 0
    ) -> None:
        super().__init__(what)
        self.what, self.throttled, self.doubtful, self.wait, self.status = what, throttled, doubtful, wait, status


@dataclass(slots=True)
class Answer:
    """`read` gives what of the body has come, at most PIECE bytes, b"" at its end, and may raise Fault. `close`
    lets go of the connection; whether it can be used again is for its owner to know."""

    status: int
    headers: Mapping[str, str]  # names in lower case
    code: str  # S3's name for an error, "" where there is none
    read: Callable[[], bytes]
    close: Callable[[], None]


class Transport(Protocol):
    """How one object is asked for its bytes."""

    host: str  # whose rate its requests come under

    def get(self, start: int, stop: int, etag: str) -> Answer:
        """Ask for the bytes [start, stop), of the version that has this strong ETag where it is not ""."""
        ...


def transport_of(url: str, timeout: float) -> Transport:
    """How to reach a URL. Raises GristmillError where Gristmill cannot."""
    scheme, _, rest = url.partition("://")
    try:
        urlsplit(url)
    except ValueError as error:
        raise GristmillError(f"this is no URL: {error}", url, "Check the address.") from error
    if scheme in ("http", "https"):
        return Http(url, timeout)
    if scheme in ("s3", "s3a"):
        bucket, _, key = rest.partition("/")
        if not key:
            raise GristmillError("this names a bucket, not a file in it", url, "Write s3://bucket/path/file.warc.gz.")
        if bucket == "commoncrawl" and not (_endpoint() or _has_credentials()):
            # The bucket is closed to anonymous readers; the same files are open to all over HTTPS.
            return Http(COMMON_CRAWL + quote(key), timeout)
        return S3(bucket, key, timeout)
    raise GristmillError(
        f"Gristmill does not read {scheme}:// addresses", shown(url), "Use https://, http:// or s3://, or a local path."
    )


def shown(url: str) -> str:
    """The URL as it may be shown: without user, password and query, in which signatures stand."""
    parts = urlsplit(url)
    return urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path, "", ""))


class Http:
    """A URL, over connections that the process keeps."""

    def __init__(self, url: str, timeout: float) -> None:
        parts = urlsplit(url)
        self.host = parts.netloc.rpartition("@")[2]
        self._url = urlunsplit((parts.scheme, self.host, parts.path, parts.query, ""))
        self._shown = shown(url)
        self._timeout = urllib3.Timeout(connect=min(timeout, 20.0), read=timeout)
        # Stored bytes are wanted, so nothing may be compressed on the way.
        self._headers = {"User-Agent": f"gristmill/{__version__}", "Accept-Encoding": "identity"}
        if parts.username is not None:
            login = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
            self._headers.update(urllib3.make_headers(basic_auth=login))

    def get(self, start: int, stop: int, etag: str) -> Answer:
        headers = {**self._headers, "Range": f"bytes={start}-{stop - 1}"}
        if etag:
            headers["If-Match"] = f'"{etag}"'
        try:
            response = _connections(os.getpid(), _proxy(self._url)).request(
                "GET",
                self._url,
                headers=headers,
                preload_content=False,
                decode_content=False,
                retries=urllib3.Retry(
                    connect=0, read=0, status=0, other=0, redirect=5, respect_retry_after_header=False
                ),
                timeout=self._timeout,
            )
        except urllib3.exceptions.LocationParseError as error:
            raise GristmillError("this is no URL", self._shown, "Check the address.") from error
        except (HTTPError, OSError) as error:
            raise self._fault(error) from error

        def read() -> bytes:
            try:
                return response.read1(PIECE, decode_content=False) or b""
            except (HTTPError, OSError) as error:
                raise Fault(_told(error)) from error

        def close() -> None:
            # A body that was not read to its end would be taken for the next answer.
            response.release_conn() if response.length_remaining == 0 else response.close()

        return Answer(response.status, {k.lower(): v for k, v in response.headers.items()}, "", read, close)

    def _fault(self, error: Exception) -> Fault:
        cause = getattr(error, "reason", None) or error
        if isinstance(cause, SSLError) and "CERTIFICATE_VERIFY_FAILED" in str(cause):
            raise GristmillError(
                "the server's certificate cannot be trusted",
                self._shown,
                "Check the address; for a certificate authority of your own set SSL_CERT_FILE.",
            ) from error
        if isinstance(cause, NameResolutionError):
            return Fault(f"there is no host {urlsplit(self._url).hostname}", doubtful=True)
        return Fault(_told(cause), doubtful=isinstance(cause, NewConnectionError))


def _told(error: object) -> str:
    """What happened to a connection, in a few words."""
    if isinstance(error, NewConnectionError):
        return "the connection was refused" if "refused" in str(error) else "no connection can be made"
    if isinstance(error, TimeoutError | urllib3.exceptions.TimeoutError) or "timeout" in type(error).__name__.lower():
        return "the server stopped answering"
    text = str(error)
    if "reset" in text or "Remote end closed" in text or "Server disconnected" in text:
        return "the connection was cut"
    if "IncompleteRead" in text or "not enough data" in text:
        return "the answer broke off"
    return " ".join(text.split())[:200] or type(error).__name__


def _proxy(url: str) -> str:
    """The proxy that the environment names for a URL, "" for none."""
    parts = urlsplit(url)
    if urllib.request.proxy_bypass(parts.hostname or ""):
        return ""
    proxies = urllib.request.getproxies()
    return proxies.get(parts.scheme) or proxies.get("all") or ""


@functools.cache
def _connections(process: int, proxy: str) -> urllib3.PoolManager:
    """The connections of this process: sockets must not be shared with a parent that forked."""
    if proxy:
        return urllib3.ProxyManager(proxy, num_pools=16, maxsize=32)
    return urllib3.PoolManager(num_pools=16, maxsize=32)


class S3:
    """An object of a bucket, by way of s3fs, which knows credentials, regions and endpoints."""

    def __init__(self, bucket: str, key: str, timeout: float) -> None:
        self._bucket, self._key, self._timeout = bucket, key, timeout
        endpoint = _endpoint()
        self.host = f"{urlsplit(endpoint).netloc or 's3'}_{bucket}"
        self._fs = _s3_files(endpoint, timeout)

    def get(self, start: int, stop: int, etag: str) -> Answer:
        import aiohttp
        from botocore.exceptions import BotoCoreError, ClientError  # type: ignore[import-untyped]  # it has no types
        from fsspec.asyn import sync

        # s3fs would wait and try again by itself, without telling anyone; the bare client does not.
        async def request() -> Any:
            await self._fs.set_session()
            client = await self._fs.get_s3(self._bucket)
            match = {"IfMatch": f'"{etag}"'} if etag else {}
            return await client.get_object(
                Bucket=self._bucket, Key=self._key, Range=f"bytes={start}-{stop - 1}", **match
            )

        try:
            response = sync(self._fs.loop, request, timeout=2 * self._timeout + 20)
        except ClientError as error:
            about, told = error.response.get("ResponseMetadata", {}), error.response.get("Error", {})
            headers = dict(about.get("HTTPHeaders", {}))
            if "ActualObjectSize" in told:  # S3 says so here, HTTP in a header
                headers["content-range"] = f"bytes */{told['ActualObjectSize']}"
            return Answer(about.get("HTTPStatusCode", 0), headers, str(told.get("Code", "")), bytes, _nothing)
        except (BotoCoreError, aiohttp.ClientError, OSError) as error:
            refused = "Could not connect" in str(error)
            what = f"{self._fs.endpoint_url or 'S3'} cannot be reached" if refused else _told(error)
            raise Fault(what, doubtful=refused) from error
        body = response["Body"]

        def read() -> bytes:
            try:
                return bytes(sync(self._fs.loop, body.read, PIECE, timeout=self._timeout))
            except (BotoCoreError, aiohttp.ClientError, OSError) as error:
                raise Fault(_told(error)) from error

        def close() -> None:
            self._fs.loop.call_soon_threadsafe(body.close)

        about = response["ResponseMetadata"]
        return Answer(about["HTTPStatusCode"], about["HTTPHeaders"], "", read, close)


def _nothing() -> None:
    """There is nothing to close."""


def _s3_files(endpoint: str, timeout: float) -> Any:
    """s3fs under the user's settings (AWS_*, ~/.aws, FSSPEC_S3_*), without retries of its own; anonymous where the
    user has no credentials."""
    import fsspec

    client = {
        "connect_timeout": min(timeout, 20.0),
        "read_timeout": timeout,
        "retries": {"total_max_attempts": 1, "mode": "standard"},
        "response_checksum_validation": "when_required",  # a range has none
    }
    anonymous = {} if _has_credentials() else {"anon": True}
    return fsspec.filesystem("s3", endpoint_url=endpoint or None, config_kwargs=client, **anonymous)


def _endpoint() -> str:
    import fsspec

    configured = fsspec.config.conf.get("s3", {}).get("endpoint_url")
    return os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL") or configured or ""


@functools.cache
def _has_credentials() -> bool:
    import botocore.session  # type: ignore[import-untyped]  # it has no types
    import fsspec

    if fsspec.config.conf.get("s3", {}).keys() & {"key", "secret", "profile", "anon"}:
        return True  # the user said how to sign, or not to
    return botocore.session.Session().get_credentials() is not None
