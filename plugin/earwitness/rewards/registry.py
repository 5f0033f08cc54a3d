"""The rewards that ``reward_funcs`` may name, and the set of them that a training run uses.

A reward is a function of a batch, in the style of trl::

    def reward(prompts, completions, records, **columns) -> list[float | None]

``prompts`` and ``completions`` are texts, ``records`` the ``earwitness.data.records.Record`` of each completion, and
every other column comes by its name. ``None`` means that this completion cannot be scored: it is left out of its
group's advantage, and never counts as 0. A reward that is meant for some records only carries an attribute
``applies(record) -> bool``; for other records it is neither called nor missed.
"""

from __future__ import annotations

import functools
import importlib.util
import inspect
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from numbers import Real
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from earwitness.errors import UserError
from earwitness.rewards import rules
from earwitness.rewards.criteria import CRITERIA, WEIGHTS
from earwitness.rewards.evaluator import Evaluator, EvaluatorConfig, Grade
from earwitness.rewards.materials import graded_task, material

if TYPE_CHECKING:
    from earwitness.data.records import Record

RULES: dict[str, Callable[..., list[float | None]]] = {
    "verdict_correct": rules.verdict_correct,
    "verdict_agreement": rules.verdict_agreement,
    "dimension_scores": rules.dimension_scores,
    "detection_exact": rules.detection_exact,
    "format": rules.format_kept,
    "rationale_consistent": rules.rationale_consistent,
    "length": rules.length,
}


class Reward(Protocol):
    """See the module's first lines."""

    def __call__(
        self, prompts: Sequence[str], completions: Sequence[str], records: Sequence[Record], **columns: Any
    ) -> Sequence[float | None]:
        """Score every completion."""


@dataclass(frozen=True)
class FileReward:
    """A function of the user's, ``path/to/file.py:name``; pickled as that text and loaded where it is used."""

    path: str
    name: str

    def __call__(
        self, prompts: Sequence[str], completions: Sequence[str], records: Sequence[Record], **columns: Any
    ) -> Sequence[float | None]:
        """Call the function."""
        return self.load()(prompts=prompts, completions=completions, records=records, **columns)

    def applies(self, record: Record) -> bool:
        """Ask the function's own ``applies``; without one it is for every record."""
        own = getattr(self.load(), "applies", None)
        return own is None or bool(own(record))

    def load(self) -> Callable[..., Sequence[float | None]]:
        """Import the file and return the function.

        Raises:
            UserError: no such file, the file fails on import, or holds no such function; lists those it holds.
        """
        return _load(self.path, self.name)


@functools.lru_cache(maxsize=64)
def _load(path: str, name: str) -> Callable[..., Sequence[float | None]]:
    where = f"reward_funcs: '{path}:{name}'"
    if not Path(path).is_file():
        raise UserError(f"{where}: no such file")
    module_spec = importlib.util.spec_from_file_location(f"earwitness_reward_{Path(path).stem}", path)
    if module_spec is None or module_spec.loader is None:
        raise UserError(f"{where}: not a Python file; its name must end in .py")
    module = importlib.util.module_from_spec(module_spec)
    try:
        module_spec.loader.exec_module(module)
    except Exception as error:
        raise UserError(f"{where}: the file cannot be imported: {type(error).__name__}: {error}") from error
    function = getattr(module, name, None)
    if not callable(function):
        held = [key for key, value in vars(module).items() if inspect.isfunction(value) and not key.startswith("_")]
        raise UserError(f"{where}: the file holds no function '{name}'; it holds: {', '.join(held) or 'none'}")
    return function


def find_reward(name: str) -> Reward:
    """The rule or the user's function of that name (evaluator criteria are made by ``RewardSet``).

    Raises:
        UserError: unknown name; lists the valid ones.
    """
    path, colon, function = name.rpartition(":")
    if colon and path.endswith(".py"):
        reward = FileReward(path, function)
        reward.load()
        return reward
    if name not in RULES:
        known = ", ".join([*RULES, *CRITERIA])
        raise UserError(f"reward_funcs: '{name}' is unknown; allowed: {known}, or path/to/file.py:function")
    return RULES[name]


@dataclass(frozen=True)
class Rewards:
    """What a ``RewardSet`` gives for one batch.

    Attributes:
        values: reward name to one value a completion; None where it does not apply or has no value.
        totals: weighted sum over the rewards that apply; None as soon as one of them has no value, or none applies.
        reasons: why the total is None; None where there is one.
    """

    values: dict[str, list[float | None]]
    totals: list[float | None]
    reasons: list[str | None]


class RewardSet:
    """The rewards of one run: all criteria of the evaluator are asked together, then totals are formed.

    Args:
        names: ``reward_funcs``: names of ``RULES``, of ``CRITERIA``, or ``path/to/file.py:function``.
        weights: ``reward_weights``, one for each name; by default 1, and the paper's 1, 1, 2, 0.5 for the criteria.
        options: ``reward_options``: reward name to keyword arguments of its function.
        evaluator: grades the criteria; needed if and only if one is named.

    Raises:
        UserError: an unknown or repeated name, a wrong number of weights, unknown options, no evaluator.
    """

    def __init__(
        self,
        names: Sequence[str],
        weights: Sequence[float] | None = None,
        options: Mapping[str, Mapping[str, Any]] | None = None,
        evaluator: Evaluator | None = None,
    ) -> None:
        if not names:
            raise UserError(f"reward_funcs: is empty; name at least one of {', '.join([*RULES, *CRITERIA])}")
        repeated = [name for position, name in enumerate(names) if name in names[:position]]
        if repeated:
            raise UserError(f"reward_funcs: '{repeated[0]}' is named twice")
        self.names = tuple(names)
        self.functions = {name: find_reward(name) for name in names if name not in CRITERIA}
        self.criteria = [name for name in names if name in CRITERIA]
        if self.criteria and evaluator is None:
            raise UserError(f"reward_funcs: '{self.criteria[0]}' is graded by an LLM; declare it under 'evaluator'")
        if evaluator is not None and not self.criteria:
            raise UserError(f"evaluator: is declared, but reward_funcs names none of {', '.join(CRITERIA)}")
        self.evaluator = evaluator
        self.weights = _weights(self.names, weights)
        self.options = {name: dict(values) for name, values in (options or {}).items()}
        for name, values in self.options.items():
            if name not in self.functions:
                raise UserError(f"reward_options: '{name}' is not among the functions {', '.join(self.functions)}")
            _check_options(name, self.functions[name], values)

    def check(self, records: Sequence[Record]) -> None:
        """Check before training that every record has a reward.

        Raises:
            UserError: the first record to which no reward applies.
        """
        for record in records:
            if not any(self._applies(name, record) for name in self.names):
                raise UserError(
                    f"reward_funcs: none of {', '.join(self.names)} applies to dataset '{record.dataset}', row "
                    f"{record.row} (judge '{record.judge.type}')"
                )

    def __call__(
        self, prompts: Sequence[str], completions: Sequence[str], records: Sequence[Record], **columns: Sequence[Any]
    ) -> Rewards:
        """Score a batch: completion i belongs to prompt i, record i and entry i of every column.

        Raises:
            UserError: a function of the user's returned something else than one number or None a completion.
        """
        rows = {name: [i for i, record in enumerate(records) if self._applies(name, record)] for name in self.names}
        grades: dict[str, dict[int, Grade]] = {name: {} for name in self.names}
        for name, function in self.functions.items():
            if not rows[name]:
                continue
            taken = {"prompts": prompts, "completions": completions, "records": records}
            if isinstance(function, FileReward):
                taken = {**columns, **taken}
            batch = {key: [column[row] for row in rows[name]] for key, column in taken.items()}
            scores = function(**{**batch, **self.options.get(name, {})})
            grades[name] = dict(zip(rows[name], _checked(name, scores, len(rows[name])), strict=True))
        if self.evaluator is not None and (graded := rows[self.criteria[0]]):
            materials = [material(completions[row], records[row]) for row in graded]
            for row, found in zip(graded, self.evaluator.grade_all(materials, self.criteria), strict=True):
                for name, grade in found.items():
                    grades[name][row] = grade
        return self._sum(grades, len(completions))

    def _sum(self, grades: Mapping[str, Mapping[int, Grade]], count: int) -> Rewards:
        nothing = Grade(None)
        values = {name: [grades[name].get(row, nothing).value for row in range(count)] for name in self.names}
        totals: list[float | None] = []
        reasons: list[str | None] = []
        for row in range(count):
            given = [(name, grades[name][row]) for name in self.names if row in grades[name]]
            missing = [f"{name}: {grade.reason}" for name, grade in given if grade.value is None]
            if missing or not given:
                totals.append(None)
                reasons.append("; ".join(missing) or "no reward applies")
            else:
                totals.append(sum(self.weights[name] * (grade.value or 0.0) for name, grade in given))
                reasons.append(None)
        return Rewards(values, totals, reasons)

    def _applies(self, name: str, record: Record) -> bool:
        if name in CRITERIA:
            return graded_task(record) is not None
        applies = getattr(self.functions[name], "applies", None)
        return applies is None or bool(applies(record))


def _weights(names: Sequence[str], weights: Sequence[float] | None) -> dict[str, float]:
    if weights is None:
        return {name: WEIGHTS.get(name, 1.0) for name in names}
    if len(weights) != len(names):
        raise UserError(f"reward_weights: {len(weights)} weights for {len(names)} rewards ({', '.join(names)})")
    for weight in weights:
        if isinstance(weight, bool) or not isinstance(weight, int | float) or not math.isfinite(weight):
            raise UserError(f"reward_weights: must be finite numbers, but one is {weight!r}")
    return dict(zip(names, map(float, weights), strict=True))


def _check_options(name: str, function: Reward, options: Mapping[str, Any]) -> None:
    signature = inspect.signature(function.load() if isinstance(function, FileReward) else function)
    batch = ("prompts", "completions", "records", "completion", "record")
    own = [key for key, one in signature.parameters.items() if one.kind is not one.VAR_KEYWORD and key not in batch]
    unknown = [key for key in options if key not in own]
    if unknown:
        raise UserError(f"reward_options: {name} has no option '{unknown[0]}'; allowed: {', '.join(own) or 'none'}")


def _checked(name: str, scores: Any, count: int) -> list[Grade]:
    if not isinstance(scores, Sequence) or isinstance(scores, str) or len(scores) != count:
        size = f"{len(scores)} values" if isinstance(scores, Sequence) else f"a {type(scores).__name__}"
        raise UserError(f"reward '{name}': must return a list of {count} numbers or None, but returned {size}")
    for score in scores:
        if score is not None and not isinstance(score, Real):
            raise UserError(f"reward '{name}': must return numbers or None, but one is {score!r}")
        if score is not None and not math.isfinite(score):
            raise UserError(f"reward '{name}': returned {score}; return None for a completion without a score")
    return [Grade(None, "no value") if score is None else Grade(float(score)) for score in scores]


def load_rewards(
    names: Sequence[str],
    weights: Sequence[float] | None = None,
    options: Mapping[str, Mapping[str, Any]] | None = None,
    evaluator: Mapping[str, Any] | None = None,
) -> RewardSet:
    """The rewards that a YAML declares: ``reward_funcs``, ``reward_weights``, ``reward_options``, ``evaluator``.

    Raises:
        UserError: see ``RewardSet`` and ``EvaluatorConfig.from_mapping``.
    """
    grader = None if evaluator is None else Evaluator(EvaluatorConfig.from_mapping(evaluator))
    return RewardSet(names, weights, options, grader)
