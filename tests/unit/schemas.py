# SPDX-License-Identifier: GPL-2.0-only
"""The JSON schemas of the package, for what the commands print."""

from __future__ import annotations

import json
from pathlib import Path

import jsonschema

import harness.reports

_FOLDER = Path(harness.reports.__file__).parent / "schema"


def require_fits(text: str, name: str) -> None:
    """The JSON is what the schema of that name says, and one of another schema is not."""
    plain = json.loads(text)
    schema = json.loads((_FOLDER / f"{name}.json").read_text())
    jsonschema.Draft202012Validator.check_schema(schema)
    jsonschema.validate(plain, schema)
    for changed in ({**plain, "schema": "ttm-harness/none/1"}, {**plain, "more": 1}, dict(list(plain.items())[1:])):
        assert not jsonschema.Draft202012Validator(schema).is_valid(changed)
