import json
import math
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from rich.console import Console

from vloc_models.frames.cameras import CameraMount
from vloc_models.frames.synthetic.rigs import RIGS
from vloc_models.geometry import se3
from vloc_models.records import Fix, PoseEstimate, Verdict, View

FIGURES = {
    'queries': 100,
    'recall_5cm_5deg': 0.5,
    'recall_10cm_5deg': 0.75,
    'recall_25cm_5deg': 0.9,
    'recall_50cm_10deg': 1.0,
    'median_cm': 4.5,
    'median_deg': 0.3,
    'ms_per_query_median': 30.0,
    'ms_per_query_p99': 41.5,
    'map_MB': 2.0,
    'map_seconds': 300.0,
    'threads_opencv': 2,
}


@pytest.fixture
def told(figures: Any) -> dict[str, dict[str, float | None]]:
    ours = FIGURES | {'accepted': 80, 'false_accepts': 1, 'threads_onnxruntime': 2}
    peer = FIGURES | {'recall_5cm_5deg': 0.0, 'median_cm': math.inf, 'map_MB': 8.0}
    return figures.compared(ours, peer)


def test_ratios_are_ours_by_the_peers(told: dict[str, dict[str, float | None]]) -> None:
    ratio = told['ratio']
    assert ratio['map_MB'] == 0.25
    assert ratio['recall_10cm_5deg'] == 1
    assert ratio['recall_5cm_5deg'] is None  # by nothing
    assert ratio['median_cm'] is None  # most got no pose: no number says how much better
    assert 'threads_opencv' not in ratio
    assert 'accepted' not in ratio


def test_json_is_strict(figures: Any, told: dict[str, dict[str, float | None]]) -> None:
    def refuse(word: str) -> None:
        raise AssertionError(word)

    read = json.loads(figures.as_json(told), parse_constant=refuse)
    assert list(read) == ['ours', 'peer', 'ratio']
    assert read['peer']['median_cm'] is None
    assert read['ours']['false_accepts'] == 1


def test_the_table_has_every_figure(
    figures: Any, told: dict[str, dict[str, float | None]]
) -> None:
    console = Console(width=100)
    with console.capture() as capture:
        console.print(figures.table(told))
    lines = [[x.strip() for x in row.split('│')[1:-1]] for row in capture.get().splitlines()]
    rows = {row[0]: row[1:] for row in lines if row}
    assert rows['within 10 cm, 5 deg'] == ['75.0%', '75.0%', '1.00']
    assert rows['median, cm'] == ['4.50', '-', '-']
    assert rows['false accepts'] == ['1', '-', '-']
    assert rows['threads of ONNX Runtime'] == ['2', '-', '-']
    assert rows['ms per query, 99 %'] == ['41.5', '41.5', '1.00']


def test_a_case_has_two_rows(figures: Any, told: dict[str, dict[str, float | None]]) -> None:
    keys = ('median_cm', 'recall_5cm_5deg', 'accepted')
    console = Console(width=100)
    with console.capture() as capture:
        console.print(figures.table_of_cases('case', {'as it is': told}, keys))
    head, ours, peer = capture.get().splitlines()
    assert ' '.join(head.split()) == 'case within 5 cm, 5 deg median, cm accepted'
    assert ours.split() == ['as', 'it', 'is', 'ours', '50.0%', '4.50', '80']
    assert peer.split() == ['peer', '0.0%', '-', '-']


def test_pictures_with_a_true_pose_are_needed(compare: Any, tmp_path: Path) -> None:
    peer = SimpleNamespace(read=lambda bag: (np.eye(3), []))
    with pytest.raises(compare.BagError, match='no picture with a true pose'):
        compare.Recorded.of(peer, tmp_path)


def test_pictures_with_depth_are_mapped(compare: Any, tmp_path: Path) -> None:
    frames = [('a', 1, np.eye(4)), ('b', None, np.eye(4)), ('c', 2, np.eye(4))]
    recorded = compare.Recorded(tmp_path, np.eye(3), frames)
    peer = SimpleNamespace(SiftLocalizer=lambda K, frames: SimpleNamespace(megabytes=len(frames)))
    assert compare.rival_of(peer, recorded)[1]['map_MB'] == 2
    assert recorded.every(2).jpegs == ['a', 'c']
    with pytest.raises(compare.BagError, match='no picture with depth'):
        compare.rival_of(peer, recorded.only([1]))


def test_both_are_asked_in_turn(compare: Any) -> None:
    calls: list[str] = []

    def asked(name: str) -> Any:
        return lambda jpeg: calls.append(f'{name}{jpeg}') or f'{name}{jpeg}'

    (ours, ours_ms), (peer, peer_ms) = compare.ask_in_turn((asked('o'), asked('p')), [1, 2, 3])
    assert calls == ['o1', 'p1', 'o1', 'p1', 'p2', 'o2', 'o3', 'p3']  # the first two are warm-up
    assert ours == ['o1', 'o2', 'o3']
    assert peer == ['p1', 'p2', 'p3']
    assert len(ours_ms) == len(peer_ms) == 3


def test_errors_are_at_the_camera(compare: Any) -> None:
    """The estimate is of the base, the truth of the camera; one query has no pose."""
    mount = RIGS['mono'][0]
    truths = [se3.exp(xi) for xi in np.random.default_rng(0).normal(size=(3, 6))]
    T_cam_base = se3.inverse(mount.T_base_cam)
    right, far = (
        PoseEstimate(T @ T_cam_base, np.eye(6), 100, 0.5, 1.0, 1.0)
        for T in (truths[0], se3.transform(np.eye(3), [9, 0, 0]) @ truths[2])
    )
    fixes = [
        Fix(0, Verdict.ACCEPTED, '', right),
        Fix(0, Verdict.NONE, ''),
        Fix(0, Verdict.ACCEPTED, '', far),
    ]
    camera = CameraMount('c', mount.camera, mount.T_base_cam, 'c')
    ours = compare.Ours(None, camera, 'jpeg')
    figures = ours.figures(fixes, truths)
    assert figures['recall_5cm_5deg'] == pytest.approx(1 / 3)
    assert (figures['answered'], figures['accepted'], figures['false_accepts']) == (2, 2, 1)


def test_a_jpeg_comes_as_the_live_picture(compare: Any) -> None:
    cv2 = pytest.importorskip('cv2')
    mount = RIGS['mono'][0]
    red = np.zeros((mount.camera.height, mount.camera.width, 3), np.uint8)
    red[..., 0] = 200
    seen: list[View] = []

    class Localizer:
        def locate(self, views: list[View]) -> Fix:
            seen.extend(views)
            return Fix(0, Verdict.NONE, '')

    camera = CameraMount('c', mount.camera, mount.T_base_cam, 'c')
    jpeg = cv2.imencode('.jpg', red[..., ::-1])[1]
    compare.Ours(Localizer(), camera, 'bgr8; jpeg compressed bgr8')(jpeg)
    assert np.abs(seen[0].image.astype(int) - red).max() < 5


@pytest.mark.parametrize(
    ('given', 'environment', 'what'),
    [
        ({}, {}, 'no --peer sift_localizer.py is named'),
        ({'peer': '{}/gone.py'}, {}, 'gone.py: no such --peer'),
        ({}, {'VLOC_PEER': '{}/gone.py'}, 'gone.py: no such --peer'),
        ({'peer': '{}/peer.py'}, {}, 'no MAP_BAG is named'),
        ({'peer': '{}/peer.py'}, {'VLOC_DATA': '{}'}, 'redkitchen_map: no such MAP_BAG'),
        ({'peer': '{}/peer.py', 'map_bag': '{}'}, {}, 'no QUERY_BAG is named'),
        ({'peer': '{}/peer.py', 'map_bag': '{}', 'query_bag': '{}'}, {}, 'no --map of ours'),
        (
            {'peer': '{}/peer.py', 'map_bag': '{}', 'query_bag': '{}', 'map': '{}/gone'},
            {},
            'gone',
        ),
    ],
)
def test_what_is_missing_is_said_in_one_line(
    compare: Any,
    refused: Callable[..., str],
    given: dict[str, str],
    environment: dict[str, str],
    what: str,
) -> None:
    assert what in refused(compare, given, environment)
