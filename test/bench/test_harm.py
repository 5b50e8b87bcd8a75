import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from vloc_models.frames.decode import decode_image

WORDS = 'bgr8; jpeg compressed bgr8'
NAMES = (
    *('as_is', 'blur_9', 'gamma_0.5', 'gamma_2', 'noise_10', 'jpeg_30', 'covered_third'),
    *('blur_15', 'gamma_0.35', 'gamma_2.8', 'noise_20', 'jpeg_12', 'covered_half'),
    'half_resolution',
)


@pytest.fixture(scope='module')
def jpeg() -> NDArray[np.uint8]:
    """Blots of all colours, 120 x 160."""
    blots = np.random.default_rng(0).integers(0, 256, (15, 20, 3), np.uint8)
    return cv2.imencode('.jpg', cv2.resize(blots, (160, 120)))[1]


def decoded(file: Any, words: str) -> NDArray[np.uint8]:
    return decode_image(SimpleNamespace(format=words, data=file))


def changed(harm: Any, name: str, picture: NDArray[np.uint8], number: int = 0) -> Any:
    return harm.CASES[name].change(picture, np.random.default_rng(number))


def grey(value: int) -> NDArray[np.uint8]:
    return np.full((240, 320, 3), value, np.uint8)


@pytest.mark.parametrize('name', NAMES)
def test_every_case_is_a_picture_of_the_same_size(
    harm: Any, jpeg: NDArray[np.uint8], name: str
) -> None:
    case = harm.CASES[name]
    file = case(jpeg, 7)
    image, before = decoded(file, case.words(WORDS)), decoded(jpeg, WORDS)
    assert (image.shape, image.dtype) == (before.shape, np.uint8)
    assert (image == before).all() == (name == 'as_is')  # a png loses nothing
    assert file[:2].tobytes() == (b'\xff\xd8' if 'jpeg' in name else b'\x89P')
    assert (harm.CASES[name](jpeg, 7) == file).all()  # the same once more


def test_no_case_is_forgotten(harm: Any) -> None:
    assert tuple(harm.CASES) == NAMES
    assert len(harm.MILD) == 6


@pytest.mark.parametrize('order', ['rgb8', 'bgr8'])
def test_colours_keep_their_order(harm: Any, jpeg: NDArray[np.uint8], order: str) -> None:
    """The format tells in which order the driver gave the colours to the encoder."""
    case, words = harm.CASES['as_is'], f'rgb8; jpeg compressed {order}'
    assert case.words(words) == f'rgb8; png compressed {order}'
    assert (decoded(case(jpeg, 0), case.words(words)) == decoded(jpeg, words)).all()


def test_what_is_drawn_follows_from_the_number(harm: Any) -> None:
    for name in ('noise_10', 'noise_20', 'covered_third', 'covered_half'):
        first, again, other = (changed(harm, name, grey(90), number) for number in (3, 3, 4))
        assert (first == again).all()
        assert (first != other).any()


@pytest.mark.parametrize(('name', 'share'), [('covered_third', 1 / 3), ('covered_half', 1 / 2)])
def test_a_rectangle_covers_just_its_share(harm: Any, name: str, share: float) -> None:
    places = set()
    for number in range(50):
        hidden = (changed(harm, name, grey(255), number) == 128).all(-1)
        rows, columns = (np.flatnonzero(hidden.any(axis)) for axis in (1, 0))
        assert hidden.sum() == len(rows) * len(columns)  # one rectangle, nothing cut off
        assert hidden.mean() == pytest.approx(share, abs=0.002)
        places.add((rows[0], columns[0], len(rows)))
    assert len(places) == 50


def test_the_bounds_of_covering(harm: Any) -> None:
    """The flattest and the tallest rectangle are as wide, or as tall, as the picture."""
    for drawn, (rows, columns) in ((0.0, (120, 320)), (1.0, (240, 160))):
        rng = SimpleNamespace(uniform=lambda x=drawn: x, integers=lambda n, endpoint: n)
        hidden = (harm.covered(grey(255), rng, 1 / 2) == 128).all(-1)
        assert (hidden.any(1).sum(), hidden.any(0).sum()) == (rows, columns)
        assert hidden[-1, -1]


def test_gamma_leaves_black_and_white(harm: Any) -> None:
    levels = np.array([[[0, 64, 255]]], np.uint8)
    assert changed(harm, 'gamma_0.5', levels).tolist() == [[[0, 128, 255]]]
    assert changed(harm, 'gamma_2', levels).tolist() == [[[0, 16, 255]]]
    ramp = np.arange(256, dtype=np.uint8).reshape(-1, 1, 1)
    assert (changed(harm, 'gamma_0.35', ramp) >= ramp).all()
    assert (changed(harm, 'gamma_2.8', ramp) <= ramp).all()


@pytest.mark.parametrize(('name', 'sigma'), [('noise_10', 10), ('noise_20', 20)])
def test_noise_is_as_strong_in_grey(harm: Any, name: str, sigma: float) -> None:
    noisy = changed(harm, name, grey(128))
    assert (noisy == noisy[..., :1]).all()
    assert cv2.cvtColor(noisy, cv2.COLOR_BGR2GRAY).std() == pytest.approx(sigma, rel=0.02)
    assert noisy.mean() == pytest.approx(128, abs=0.1)
    assert changed(harm, name, grey(255)).min() > 128  # clipped, not wrapped


def test_blur_is_a_mean(harm: Any) -> None:
    picture = np.zeros((31, 31, 3), np.uint8)
    picture[15, 15] = 255
    assert ((changed(harm, 'blur_9', picture) == 3).sum()) == 9 * 9 * 3
    assert ((changed(harm, 'blur_15', picture) == 1).sum()) == 15 * 15 * 3


def test_half_resolution_loses_the_finest(harm: Any) -> None:
    board = (np.indices((48, 64)).sum(0) % 2 * 200).astype(np.uint8)
    assert (changed(harm, 'half_resolution', np.stack([board] * 3, -1)) == 100).all()
    assert changed(harm, 'half_resolution', np.zeros((47, 63, 3), np.uint8)).shape == (47, 63, 3)


def test_a_jpeg_of_less_quality_is_smaller(harm: Any, jpeg: NDArray[np.uint8]) -> None:
    sizes = [len(harm.CASES[name](jpeg, 0)) for name in ('jpeg_12', 'jpeg_30')]
    assert sizes == sorted(sizes)


def test_the_summary(harm: Any) -> None:
    def both(ours: float, peer: float) -> dict[str, dict[str, float]]:
        return {who: {'recall_10cm_5deg': x} for who, x in (('ours', ours), ('peer', peer))}

    told = {'as_is': both(0.9, 0.95), 'blur_9': both(0.8, 0.7), 'gamma_2': both(0.7, 0.7)}
    summary = harm.summary(told | {'blur_15': both(0.1, 0.2)})
    assert summary == {
        'worst_mild_recall_10cm_5deg': 0.7,
        'cases_below_peer': ['as_is', 'blur_15'],
    }
    assert '70.0%' in harm.in_words(summary)
    assert harm.summary({'as_is': both(1, 1)})['worst_mild_recall_10cm_5deg'] is None


def test_both_are_asked_every_case(
    harm: Any, both: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Both read the place from the first pixel, so that a gamma leads both to a wrong one."""
    file = tmp_path / 'harm.json'
    both.install(harm, 60, limit=40)
    cases = ('as_is', 'gamma_0.5')
    options = harm.Options(tmp_path, tmp_path, tmp_path / 'map', tmp_path, file, 10, cases)
    assert harm.run(lambda: harm.main(options)) == 0
    told = json.loads(file.read_text())
    assert list(told) == ['as_is', 'gamma_0.5', 'summary']
    ours, peer = told['as_is']['ours'], told['as_is']['peer']
    assert (ours['queries'], ours['accepted'], ours['false_accepts']) == (6, 5, 0)
    assert ours['recall_5cm_5deg'] == pytest.approx(5 / 6)
    assert peer['recall_5cm_5deg'] == 1
    assert peer['median_cm'] == 0
    assert told['gamma_0.5']['peer']['recall_5cm_5deg'] == pytest.approx(1 / 6)  # 0 stays 0
    assert told['summary']['cases_below_peer'] == ['as_is']
    assert 'as_is' in capsys.readouterr().out


@pytest.mark.parametrize(
    ('given', 'more', 'what'),
    [
        ({}, {}, 'no --peer sift_localizer.py is named'),
        ({'peer': '{}/peer.py'}, {}, 'no MAP_BAG is named'),
        ({'peer': '{}/peer.py', 'map_bag': '{}'}, {}, 'no QUERY_BAG is named'),
        ({'peer': '{}/peer.py', 'map_bag': '{}', 'query_bag': '{}'}, {}, 'no --map of ours'),
        ({'map': '{}/gone'}, {'every': 0}, '--every makes no sense'),
        ({'map': '{}/gone'}, {'cases': ('as_is', 'rain')}, "no case 'rain'; choose from as_is, "),
        ({'map': '{}/gone', 'json': '{}/gone/harm.json'}, {}, 'lies in the map'),
        ({'map': '{}/gone'}, {}, 'gone'),
    ],
)
def test_what_is_missing_is_said_in_one_line(
    harm: Any,
    refused: Callable[..., str],
    given: dict[str, str],
    more: dict[str, Any],
    what: str,
) -> None:
    named = {'peer': '{}/peer.py', 'map_bag': '{}', 'query_bag': '{}'} if 'map' in given else {}
    assert what in refused(harm, named | given, {}, **more)
