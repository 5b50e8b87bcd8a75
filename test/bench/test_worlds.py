"""Ten test worlds, and one of them in each light against each."""

from typing import Any

from vloc_models.frames.scenes import LOOKS


def test_ten_worlds_and_sixteen_lights(worlds: Any) -> None:
    cases = worlds.cases()
    lights = {name: case for name, case in cases.items() if name.startswith('look')}
    worlds_alone = ('ordinary', 'low', 'alike')
    others = [case for name, case in cases.items() if name.startswith(worlds_alone)]
    assert len({case.world for case in others}) == len(others) == 10
    assert all((case.mapped, case.asked) == (('day',), 'day') for case in others)
    assert len({(case.mapped, case.asked) for case in lights.values()}) == len(lights) == 16
    assert {case.world.texture for case in others} == {'ordinary', 'low'}
    assert sum(case.world.lookalikes > 0 for case in others) == 3


def test_nothing_of_ours_was_made_from_them(worlds: Any) -> None:
    cases = worlds.cases().values()
    assert {case.world.split for case in cases} == {'test'}
    assert {case.asked for case in cases} - set(LOOKS) == {'winter'}  # not even in training worlds


def test_two_runs_in_one_map_and_other_cameras(worlds: Any) -> None:
    cases = worlds.cases()
    runs = [case for name, case in cases.items() if name.startswith('runs')]
    assert {case.mapped for case in runs} == {('day', 'night')}
    assert {case.asked for case in runs} == {'day', 'night', 'evening', 'winter'}
    cameras = [case for name, case in cases.items() if name.startswith('camera')]
    assert [case.rig for case in cameras] == ['webcam', 'fisheye']
    assert {case.rig for case in cases.values() if case not in cameras} == {'mono'}
