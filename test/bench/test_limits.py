"""One setting at a time."""

from dataclasses import fields
from typing import Any


def parts(setting: Any) -> dict[str, Any]:
    """The settings that rows differ in."""
    mapping, asking = setting.mapping, setting.asking
    return {
        'images': setting.every,
        'landmarks': mapping.landmarks,
        'encoder': mapping.encoder,
        'instant': mapping.instant,
        'cells': asking.every,
        'pnp': asking.pnp,
        'use': asking.use,
    }


def test_each_row_changes_one_thing(limits: Any) -> None:
    rows = dict(limits.settings(head=False))
    first, *others = rows.values()
    for row in others:
        changed = [k for k, x in parts(row).items() if x != parts(first)[k]]
        assert len(changed) == 1
        assert changed != ['use']
    assert len({str(parts(row)) for row in rows.values()}) == len(rows)


def test_heads_are_trained_on_demand(limits: Any) -> None:
    rows = dict(limits.settings(head=True))
    trained = {row.asking.use for row in rows.values() if not row.mapping.instant}
    assert trained == {'head', 'landmarks', 'both'}
    assert all(row.mapping.instant for _, row in limits.settings(head=False))


def test_a_landmark_setting_changes_one_number(limits: Any) -> None:
    rows = [row.mapping.landmarks for _, row in limits.settings(head=False)]
    for marks in rows[1:]:
        names = [f.name for f in fields(marks)]
        assert sum(getattr(marks, n) != getattr(rows[0], n) for n in names) <= 1
