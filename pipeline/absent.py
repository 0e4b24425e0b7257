"""Absent: optional packages that a library would import for nothing."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator
from importlib.abc import MetaPathFinder


@contextlib.contextmanager
def absent(package: str) -> Iterator[None]:
    """Within this block `package` cannot be imported, unless it already is.

    For libraries that look on their own import whether it is there: pyarrow for pandas, spaCy for torch. What they
    decide then holds for this process.
    """
    finder = _Refuses(package)
    sys.meta_path.insert(0, finder)
    try:
        yield
    finally:
        sys.meta_path.remove(finder)


class _Refuses(MetaPathFinder):
    def __init__(self, package: str) -> None:
        self._package = package

    def find_spec(self, name: str, path: object = None, target: object = None) -> None:
        if name == self._package:
            raise ModuleNotFoundError(f"{name} is not wanted here", name=name)
