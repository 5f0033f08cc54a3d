"""The bridge from a declared judge to LLaMA-Factory's aligned rows (formatting: speech_pair, speech_clip)."""

from __future__ import annotations

from typing import Any

SPEECH_FORMATS = ("speech_pair", "speech_clip")


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
        self.entry = Entry.from_info(dataset_attr.judge_name, dataset_attr.judge_entry)
        assert self.entry.judge is not None
        self.template_text = find_template(self.entry.judge.template).read_text(encoding="utf-8")

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
