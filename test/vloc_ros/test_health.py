import pytest

pytest.importorskip('rclpy', reason='no ROS 2 here')

from vloc_ros.health import Health


class Listener:
    """A Health with a clock that is set by hand."""

    def __init__(self) -> None:
        self.now_s = 100.0
        self.lines: list[str] = []
        self.health = Health(self.lines.append, lambda: self.now_s)


@pytest.fixture
def heard() -> Listener:
    return Listener()


def test_a_part_is_as_it_was_last_set(heard: Listener) -> None:
    heard.health.set('camera', 'error', 'no image', received=0)
    heard.health.set('camera', 'ok', 'images come', received=3, left_out=1)
    values = {'received': 3, 'left_out': 1, 'faults': 0}
    assert heard.health.parts() == [('camera', 'ok', 'images come', values)]


def test_figures_that_are_not_told_again_stay(heard: Listener) -> None:
    heard.health.set('camera', 'ok', '', rate_hz='9.9')
    heard.health.set('camera', 'ok', '', received=3)
    assert heard.health.parts()[0][3] == {'rate_hz': '9.9', 'received': 3, 'faults': 0}


def test_a_fault_is_shown_for_some_seconds_and_counted_for_ever(heard: Listener) -> None:
    heard.health.set('camera', 'ok', 'images come')
    heard.health.fault('camera', 'a cut jpeg')
    heard.now_s += 4.9
    assert heard.health.parts() == [('camera', 'warn', 'a cut jpeg', {'faults': 1})]
    heard.health.set('camera', 'ok', 'images still come')
    assert heard.health.parts()[0][1:3] == ('warn', 'a cut jpeg')
    heard.now_s += 0.2
    assert heard.health.parts() == [('camera', 'ok', 'images still come', {'faults': 1})]


def test_the_last_fault_is_the_one_that_is_shown(heard: Listener) -> None:
    heard.health.fault('camera', 'a cut jpeg')
    heard.now_s += 4
    heard.health.fault('camera', 'no stamp')
    heard.now_s += 4
    assert heard.health.parts() == [('camera', 'warn', 'no stamp', {'faults': 2})]


def test_a_fault_does_not_make_an_error_smaller(heard: Listener) -> None:
    heard.health.set('camera', 'error', 'no image')
    heard.health.fault('camera', 'K is all zeros')
    assert heard.health.worst() == ('error', 'camera: K is all zeros')


def test_the_same_words_are_logged_once_in_half_a_minute(heard: Listener) -> None:
    for _ in range(30):
        heard.health.set('camera', 'error', 'no image')
        heard.now_s += 0.999
    assert heard.lines == ['camera: no image']
    heard.now_s += 1
    heard.health.set('camera', 'error', 'no image')
    assert heard.lines == ['camera: no image'] * 2


def test_other_words_are_logged_at_once(heard: Listener) -> None:
    heard.health.fault('camera', 'a cut jpeg')
    heard.health.fault('odometry', 'a cut jpeg')
    heard.health.set('camera', 'warn', 'slow')
    assert heard.lines == ['camera: a cut jpeg', 'odometry: a cut jpeg', 'camera: slow']


def test_what_is_well_is_not_logged(heard: Listener) -> None:
    heard.health.set('camera', 'ok', 'images come')
    assert heard.lines == []


def test_ever_new_words_do_not_fill_the_memory(heard: Listener) -> None:
    for k in range(5000):
        heard.health.fault('camera', 'x' * k)
    assert len(heard.lines) == 5000
    assert len(heard.health._said) <= 1001
    assert len(heard.health.parts()) == 1


def test_other_numbers_are_no_news(heard: Listener) -> None:
    for k in range(10):
        heard.health.fault('camera', f'{k} of {k / 7:.3f} bytes')
    assert heard.lines == ['camera: 0 of 0.000 bytes']


def test_the_worst_part_is_told(heard: Listener) -> None:
    assert heard.health.worst() == ('ok', '')
    heard.health.set('map', 'ok', 'site')
    assert heard.health.worst() == ('ok', 'map: site')
    heard.health.fault('clock', 'set back')
    assert heard.health.worst() == ('warn', 'clock: set back')
    heard.health.set('camera', 'error', 'no image')
    heard.health.set('odometry', 'warn', 'late')
    assert heard.health.worst() == ('error', 'camera: no image')


def test_of_two_that_are_as_bad_the_first_is_told(heard: Listener) -> None:
    heard.health.set('camera', 'error', 'no image')
    heard.health.set('odometry', 'error', 'silent')
    assert heard.health.worst() == ('error', 'camera: no image')


def test_parts_that_exist_no_more_are_gone(heard: Listener) -> None:
    for name in ('map', 'camera', 'clock'):
        heard.health.set(name, 'error', 'broken')
    heard.health.drop('camera', 'clock', 'never_there')
    assert [part[0] for part in heard.health.parts()] == ['map']
