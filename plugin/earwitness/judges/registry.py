"""Every type of judge that ``judge.type`` may name, one module a family."""

from __future__ import annotations

from earwitness.errors import UserError
from earwitness.judges import alld, generic, sagelm, speecheval
from earwitness.judges.kinds import JudgeType

JUDGE_TYPES: dict[str, JudgeType] = {
    judge.name: judge for family in (generic, sagelm, speecheval, alld) for judge in family.TYPES
}


def judge_type(name: str) -> JudgeType:
    """Return the type of that name.

    Raises:
        UserError: no such type; lists all of them with what they do.
    """
    if name not in JUDGE_TYPES:
        known = "; ".join(f"{judge.name} ({judge.summary})" for judge in JUDGE_TYPES.values())
        raise UserError(f"unknown judge type {name!r}; allowed: {known}")
    return JUDGE_TYPES[name]
