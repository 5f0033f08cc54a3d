"""The JSON Schema of ``dataset_info.json``, made from the registry of judges, and the check of a whole file."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from typing import Any

from earwitness.data.converters import CONVERTERS
from earwitness.data.converters.fields import Options
from earwitness.data.entries import ENTRY_KEYS, HOST_FORMATTINGS, Entry
from earwitness.errors import UserError
from earwitness.judges.registry import JUDGE_TYPES
from earwitness.judges.spec import FORMATTINGS, JUDGE_KEYS, ORDER_SWAPS

_TEXT = {"type": "string", "minLength": 1}
_TEXTS = {"type": "array", "items": _TEXT, "minItems": 1, "uniqueItems": True}
_HOST_COLUMNS = (
    *("prompt", "query", "response", "history", "messages", "system", "tools", "images", "videos", "audios"),
    *("chosen", "rejected", "kto_tag", "expert_prompt", "id"),
)
_TAGS = ("role_tag", "content_tag", "user_tag", "assistant_tag", "observation_tag", "function_tag", "system_tag")


def schema() -> dict[str, Any]:
    """Return the schema of the whole file, for editors and ``problems_of``."""
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "dataset_info.json of LLaMA-Factory with speech judges",
        "description": "One entry for each dataset; data/README.md explains every field.",
        "type": "object",
        "additionalProperties": {"$ref": "#/$defs/entry"},
        "$defs": {"entry": _entry(), "judge": _judge()},
    }


def _entry() -> dict[str, Any]:
    properties: dict[str, Any] = dict.fromkeys(ENTRY_KEYS, _TEXT)
    properties |= {
        "file_name": {**_TEXT, "description": "File of the rows, relative to the folder of this file."},
        "formatting": {
            "enum": [*FORMATTINGS, *HOST_FORMATTINGS, *CONVERTERS],
            "default": "alpaca",
            "description": "speech_pair and speech_clip are rows of a declared judge; alpaca, sharegpt and "
            "openai are the host's; the others are formats in the wild, read through a converter.",
        },
        "ranking": {"type": "boolean"},
        "num_samples": {"type": ["integer", "null"], "minimum": 1},
        "subset": {"type": ["string", "null"]},
        "folder": {"type": ["string", "null"]},
        "columns": {"type": "object", "description": "What is read, to the column that holds it."},
        "tags": {"type": "object", "propertyNames": {"enum": list(_TAGS)}, "additionalProperties": _TEXT},
        "judge": {"$ref": "#/$defs/judge"},
        "converter": _converter(),
    }
    return {
        "type": "object",
        "additionalProperties": False,
        "properties": properties,
        "allOf": [
            {
                "if": {"properties": {"formatting": {"const": formatting}}, "required": ["formatting"]},
                "then": {"properties": {"columns": _columns(clips), "judge": {"properties": {"type": _types(clips)}}}},
            }
            for formatting, clips in FORMATTINGS.items()
        ]
        + [
            {
                "if": {
                    "not": {
                        "properties": {"formatting": {"enum": [*FORMATTINGS, *CONVERTERS]}},
                        "required": ["formatting"],
                    }
                },
                "then": {
                    "properties": {
                        "columns": {
                            "propertyNames": {"enum": list(_HOST_COLUMNS)},
                            "additionalProperties": {"type": ["string", "null"]},
                        }
                    }
                },
            }
        ],
    }


def _converter() -> dict[str, Any]:
    names = {"type": "object", "additionalProperties": _TEXT}
    options: dict[str, Any] = dict.fromkeys((option.name for option in fields(Options)), _TEXT)
    options |= {"columns": names, "verdict_values": names, "audio_out": _TEXT}
    options |= {"scale": {"type": "array", "items": {"type": "number"}, "minItems": 2, "maxItems": 2}}
    options |= {flag: {"type": "boolean"} for flag in ("unlabelled", "keep_tokens")}
    return {
        "type": "object",
        "additionalProperties": False,
        "properties": options,
        "description": "For the formats of converters: what the file itself does not say.",
    }


def _columns(clips: int) -> dict[str, Any]:
    names = dict.fromkeys(name for judge in JUDGE_TYPES.values() if judge.clips == clips for name in judge.columns)
    columns: dict[str, Any] = dict.fromkeys(names, _TEXT)
    if "scores" in columns:
        columns["scores"] = {"anyOf": [_TEXT, {"type": "object", "additionalProperties": _TEXT, "minProperties": 1}]}
    return {"additionalProperties": False, "properties": columns}


def _types(clips: int) -> dict[str, Any]:
    return {"enum": [judge.name for judge in JUDGE_TYPES.values() if judge.clips == clips]}


def _judge() -> dict[str, Any]:
    verdicts = dict.fromkeys(verdict for judge in JUDGE_TYPES.values() for verdict in judge.labels)
    aspects = [aspect for judge in JUDGE_TYPES.values() for aspect in judge.aspects]
    properties = {
        "type": {
            "enum": list(JUDGE_TYPES),
            "description": "; ".join(f"{judge.name}: {judge.summary}" for judge in JUDGE_TYPES.values()),
        },
        "template": {**_TEXT, "description": "Path under templates/ without .jinja, or a path that ends in .jinja."},
        "aspects": {**_TEXTS, "examples": [aspects], "description": "What rows may ask for."},
        "labels": {
            "type": "object",
            "propertyNames": {"enum": list(verdicts)},
            "additionalProperties": _TEXT,
            "description": "What the model writes for each verdict.",
        },
        "verdict_values": {
            "type": "object",
            "additionalProperties": {"enum": list(verdicts)},
            "minProperties": 1,
            "description": 'What the data holds for each verdict, such as {"A": "first"}.',
        },
        "scale": {
            "anyOf": [
                {"type": "array", "items": {"type": "number"}, "minItems": 2, "maxItems": 2},
                {**_TEXTS, "minItems": 2},
                {"type": "null"},
            ],
            "description": "[lowest, highest], or words from worst to best (rate_clip).",
        },
        "chain_of_thought": {"type": "boolean", "default": False},
        "order_swap": {"enum": list(ORDER_SWAPS), "default": "none", "description": "Training rows shown as B, A."},
        "clip_names": {**_TEXTS, "maxItems": 2, "description": "What the prompt calls the clips."},
        "language": {"type": ["string", "null"], "description": "Language of the answer, for templates that ask it."},
    }
    assert properties.keys() == set(JUDGE_KEYS)
    return {"type": "object", "additionalProperties": False, "properties": properties}


def problems_of(entries: Mapping[str, Any]) -> dict[str, list[str]]:
    """Say what is wrong with each entry of a ``dataset_info.json``, in complete sentences; right ones are left out.

    An entry is first read as a run reads it, because those messages list what is allowed; what no run would stop at,
    such as a misspelt key of the host, is found by the schema.
    """
    from jsonschema import Draft202012Validator

    validator = Draft202012Validator(schema())
    problems: dict[str, list[str]] = {}
    for name, entry in entries.items():
        try:
            Entry.from_info(name, entry)
        except UserError as error:
            problems[name] = [str(error)]
            continue
        for broken in sorted(validator.iter_errors({name: entry}), key=lambda found: list(map(str, found.path))):
            place = "".join(f", {part}" for part in list(broken.path)[1:])
            problems.setdefault(name, []).append(f"dataset_info.json, entry {name!r}{place}: {broken.message}")
    return problems
