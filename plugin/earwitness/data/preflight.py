"""What is checked before a training run starts, so that nothing fails or is cut in the middle of it."""

from __future__ import annotations

import sys
from copy import copy
from typing import Any

from earwitness.errors import UserError


class WholePrompts:
    """Mixin for the host's dataset processors: a prompt with audio that ``cutoff_len`` would cut is an error.

    The host cuts token ids blindly, which can take away the audio tokens of the second clip.
    """

    data_args: Any

    def _encode_data_example(self, *args: Any, audios: list, **kwargs: Any) -> tuple[list[int], list[int]]:
        if not audios:
            return super()._encode_data_example(*args, audios=audios, **kwargs)  # type: ignore[misc]
        limited = self.data_args
        self.data_args = copy(limited)
        self.data_args.cutoff_len = sys.maxsize
        try:
            encoded = super()._encode_data_example(*args, audios=audios, **kwargs)  # type: ignore[misc]
        finally:
            self.data_args = limited
        longest = max(map(len, encoded))
        if longest > limited.cutoff_len:
            from earwitness.audio.lengths import name_of

            raise UserError(
                f"{', '.join(map(name_of, audios))}: the prompt takes {longest} tokens, cutoff_len allows "
                f"{limited.cutoff_len}; raise cutoff_len, or shorten the clips or the text"
            )
        return encoded
