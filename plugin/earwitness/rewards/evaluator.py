"""Grades of a text LLM for whole batches: many requests at once, and no grade that was not given."""

from __future__ import annotations

import logging
import os
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

from earwitness.errors import UserError
from earwitness.llm.chat import Chat, Failure
from earwitness.llm.endpoint import Endpoint
from earwitness.rewards.criteria import CRITERIA, MAX_GRADE, WEIGHTS, Material, grade_request, read_grades
from earwitness.rewards.monitor import FailureMonitor

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Grade:
    """``value``: s / 10 in 0..1, or None with the ``reason`` why there is none."""

    value: float | None
    reason: str | None = None


@dataclass(frozen=True)
class EvaluatorConfig:
    """Which LLM grades, and how. In YAML one object, ``evaluator``.

    Attributes:
        server: an OpenAI-compatible server; its fields stand beside the others (``base_url``, ``model`` ...).
        model_path: or a causal LM of transformers, run in this process.
        together: one request for all criteria instead of one for each. Cheaper; the grades lean on each other.
        max_tokens: room for a reply, thinking included.
        failure_rate, failure_window: see ``FailureMonitor``.
    """

    server: Endpoint | None = None
    model_path: str | None = None
    together: bool = False
    max_tokens: int = 2048
    failure_rate: float = 0.2
    failure_window: int = 1000

    @classmethod
    def from_mapping(cls, values: Mapping[str, Any], where: str = "evaluator") -> EvaluatorConfig:
        """Read the object of the YAML.

        Raises:
            UserError: neither or both of ``base_url`` and ``model_path``, an unknown field, a value out of range.
        """
        own = {item.name for item in fields(cls)} - {"server"}
        mine = {name: value for name, value in values.items() if name in own}
        rest = {name: value for name, value in values.items() if name not in own}
        if ("base_url" in rest) == ("model_path" in mine):
            raise UserError(f"{where}: needs either 'base_url' (a server) or 'model_path' (a model in this process)")
        if "model_path" in mine and rest:
            raise UserError(f"{where}: '{min(rest)}' does not go with model_path; allowed: {', '.join(sorted(own))}")
        kinds = {"together": bool, "max_tokens": int, "failure_window": int, "model_path": str}
        for name, kind in kinds.items():
            if name in mine and type(mine[name]) is not kind:
                raise UserError(f"{where}: '{name}' must be of type {kind.__name__}, but is {mine[name]!r}")
        for name in ("max_tokens", "failure_window"):
            if mine.get(name, 1) < 1:
                raise UserError(f"{where}: '{name}' must be at least 1, but is {mine[name]}")
        rate = mine.get("failure_rate", 0.2)
        if isinstance(rate, bool) or not isinstance(rate, int | float) or not 0 <= rate <= 1:
            raise UserError(f"{where}: 'failure_rate' must be a number from 0 to 1, but is {rate!r}")
        return cls(server=Endpoint.from_mapping(rest, where) if rest else None, **mine)

    def chat(self, processes: int | None = None) -> Chat:
        """The engine. ``processes`` share the server's concurrency; by default ``WORLD_SIZE`` of them."""
        if self.server is not None:
            from earwitness.llm.client import ChatClient

            return ChatClient(self.server, processes or int(os.environ.get("WORLD_SIZE", "1")))
        from earwitness.llm.local import LocalChat

        assert self.model_path is not None
        return LocalChat(self.model_path)


class Evaluator:
    """Grades answers under the criteria of ``rewards.criteria``.

    Args:
        chat: what answers; made from ``config`` when left out, at the first use.
        config: see ``EvaluatorConfig``.
    """

    def __init__(self, config: EvaluatorConfig, chat: Chat | None = None) -> None:
        self.config = config
        self.monitor = FailureMonitor(config.failure_rate, config.failure_window)
        self._chat = chat

    @property
    def chat(self) -> Chat:
        """The engine, made at the first use."""
        if self._chat is None:
            self._chat = self.config.chat()
        return self._chat

    def grade_all(
        self, materials: Sequence[Material | str], criteria: Sequence[str] = CRITERIA
    ) -> list[dict[str, Grade]]:
        """Grade every answer under every criterion, all requests in flight together.

        Args:
            materials: what to grade; a text instead says why an answer cannot be graded, and nothing is asked.
            criteria: names from ``CRITERIA``.

        Returns: criterion to grade, for each material in order. Failed grades are None with a reason, are counted by
            ``monitor`` and logged.
        """
        groups = [tuple(criteria)] if self.config.together else [(name,) for name in criteria]
        asked = [(index, group) for index, one in enumerate(materials) if isinstance(one, Material) for group in groups]
        requests = [
            grade_request(material, group, self.config.max_tokens)
            for index, group in asked
            if isinstance(material := materials[index], Material)
        ]
        results = [dict.fromkeys(criteria, Grade(None, one)) if isinstance(one, str) else {} for one in materials]
        failures: list[str | None] = []
        for (index, group), answer in zip(asked, self.chat.ask_all(requests) if requests else [], strict=True):
            grades = str(answer) if isinstance(answer, Failure) else read_grades(answer.text, group)
            for name in group:
                if isinstance(grades, str):
                    results[index][name] = Grade(None, grades)
                    failures.append(grades)
                else:
                    results[index][name] = Grade(grades[name] / MAX_GRADE)
                    failures.append(None)
        self.monitor.add(failures)
        if any(failures):
            kinds = Counter(reason.split(":", 1)[0] for reason in failures if reason)
            logger.warning("%d of %d grades failed: %s", sum(kinds.values()), len(failures), dict(kinds))
        return results


def combine(grades: Mapping[str, Grade], weights: Mapping[str, float] = WEIGHTS) -> float | None:
    """R = sum_k w_k r_k (equation 3): 0 to 4.5 with the paper's weights; None if any grade is missing."""
    values = [(weights[name], grade.value) for name, grade in grades.items()]
    if any(value is None for _, value in values):
        return None
    return sum(weight * value for weight, value in values if value is not None)
