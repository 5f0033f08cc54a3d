"""The bridge from a declared judge to LLaMA-Factory's aligned rows (``SPEECH_FORMATS``)."""

from __future__ import annotations

from typing import Any

from earwitness.data.converters import CONVERTERS
from earwitness.judges.spec import FORMATTINGS

SPEECH_FORMATS = (*FORMATTINGS, *CONVERTERS)
"""Every ``formatting`` that is ours."""


def undecoded(dataset: Any) -> Any:
    """A ``datasets`` dataset whose audio columns give bytes and path, as the converters read them.

    Parquet files of the hub declare such columns, and ``datasets`` would decode them, which needs torchcodec.
    """
    from datasets import Audio

    for name, feature in (dataset.features or {}).items():
        if isinstance(feature, Audio):
            dataset = dataset.cast_column(name, Audio(decode=False))
    return dataset


class SpeechConverter:
    """Mixin for the host's ``DatasetConverter``: one raw row in, one aligned row out.

    Streaming-safe and picklable. The template's text is part of its state, so that ``datasets`` converts again, and
    does not read its cache, when a template changes.
    """

    dataset_attr: Any
    data_args: Any

    def __init__(self, dataset_attr: Any, data_args: Any) -> None:
        from earwitness.data.entries import Entry
        from earwitness.judges.prompts import find_template

        super().__init__(dataset_attr, data_args)  # type: ignore[call-arg]
        folder = data_args.dataset_dir if isinstance(data_args.dataset_dir, str) else "data"
        self.entry = Entry.from_info(dataset_attr.judge_name, dataset_attr.judge_entry, folder)
        asked = [self.entry] if self.entry.converted is None else self.entry.converted.entries.values()
        templates = {entry.judge.template for entry in asked if entry.judge is not None}
        self.template_text = [find_template(name).read_text(encoding="utf-8") for name in sorted(templates)]

    def __call__(self, example: dict[str, Any]) -> dict[str, Any]:
        """Return the host's aligned row: ``_prompt``, ``_response``, ``_audios`` and the columns it expects beside.

        Raises:
            RowError: a column is missing or a value is not allowed.
        """
        from earwitness.data.examples import training_example
        from earwitness.data.records import resolve_audio

        row = training_example(example, self.entry)
        answer = [] if row.response is None else [{"role": "assistant", "content": row.response}]
        return {
            "_prompt": [{"role": "user", "content": row.prompt}],
            "_response": answer,
            "_system": "",
            "_tools": "",
            "_images": None,
            "_videos": None,
            "_audios": [resolve_audio(audio, self.data_args.media_dir) for audio in row.audios],
        }
