"""Marks of settings, given as a field's `json_schema_extra`."""

from __future__ import annotations

from pydantic import JsonValue

# The setting names files of the user's own. Their content counts, by a step's version or a hash; where they lie does not.
OWN_FILES: dict[str, JsonValue] = {"own_files": True}
