import json
import re
from pathlib import Path
from typing import Any

import pytest

from vloc_models.commands.main import main
from vloc_models.metrics import html
from vloc_models.tum import read_tum

PEER = """queries median_cm median_deg recall_5cm_5deg recall_10cm_5deg recall_25cm_5deg
recall_50cm_10deg recall_100cm_10deg ms_per_query_median ms_per_query_p99 map_seconds map_MB"""


@pytest.fixture
def words(knowing: Any, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    knowing.install(monkeypatch, 'evaluate')
    monkeypatch.setattr(html, '_DPI', 30)  # sooner done
    return ['evaluate', str(knowing.bag), '--map', str(knowing.site)]


def strict(text: str) -> dict[str, float | None]:
    def refuse(word: str) -> None:
        raise AssertionError(word)

    return json.loads(text, parse_constant=refuse)


def test_figures(
    words: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str], knowing: Any
) -> None:
    assert main([*words, '--json', f'{tmp_path}/f.json', '--tum', f'{tmp_path}/f.tum']) == 0
    found = strict((tmp_path / 'f.json').read_text())
    assert set(PEER.split()) <= set(found)
    assert found['queries'] == knowing.N
    assert found['accepted'] == 18
    assert found['false_accepts'] == 1
    assert found['recall_5cm_5deg'] == pytest.approx(17 / 20)
    assert found['recall_100cm_10deg'] == pytest.approx(19 / 20)
    # at the camera, 10 cm ahead of the base, which is turned by 0.01 rad
    assert found['median_cm'] == pytest.approx(100 * (0.02**2 + 0.001**2) ** 0.5, rel=1e-2)
    size = sum(p.stat().st_size for p in knowing.site.rglob('*') if p.is_file())
    assert found['map_MB'] == pytest.approx(size / 2**20)
    assert found['map_seconds'] is None
    assert len(read_tum(tmp_path / 'f.tum')) == 19  # every solve
    said = capsys.readouterr().out
    for told in ('85.0 %', '2.0 cm, 0.57 deg', '19 of 20', '18 of 20', 'false accepts', 'MiB'):
        assert told in said


def test_report_with_the_worst_frames(
    words: list[str], tmp_path: Path, knowing: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    knowing.install(monkeypatch, 'evaluate', say='<script>alert(1)</script>')
    assert main([*words, '--report', f'{tmp_path}/r.html', '--worst', '3']) == 0
    text = (tmp_path / 'r.html').read_text()
    assert '<script' not in text
    assert '&lt;script&gt;alert(1)' in text
    assert text.count('data:image/jpeg') == 3
    assert re.findall('<figcaption><b>(.*)</b>', text) == [
        '1000000000.500 s: 90.0 cm, 0.57 deg',  # a false accept
        '1000000000.300 s: no pose',
        '1000000000.700 s: 90.0 cm, 0.57 deg',  # weak
    ]


def test_nothing_is_found(
    words: list[str],
    tmp_path: Path,
    knowing: Any,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    knowing.install(monkeypatch, 'evaluate', mute=True)
    out = ['--report', f'{tmp_path}/r.html', '--json', f'{tmp_path}/f.json']
    assert main([*words, *out]) == 0
    found = strict((tmp_path / 'f.json').read_text())
    assert found['median_cm'] is None
    assert found['recall_5cm_5deg'] == 0
    text = (tmp_path / 'r.html').read_text()
    assert text.count('data:image/jpeg') == 6
    told = re.sub('src="[^"]*"', '', text) + capsys.readouterr().out
    assert told.count('no pose') > 8
    assert not re.search(r'\b(inf|nan)\b', told)


def test_a_bag_without_the_truth(
    words: list[str], knowing: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    words[1] = str(knowing.blind)
    assert main(words) == 2
    assert '--poses' in capsys.readouterr().err
    assert main([*words, '--poses', 'none']) == 2
    assert 'no true poses to compare with; name a pose topic' in capsys.readouterr().err


def test_truth_from_a_tum_file(words: list[str], knowing: Any, tmp_path: Path) -> None:
    assert main([*words, '--tum', f'{tmp_path}/f.tum']) == 0
    words[1] = str(knowing.blind)
    out = ['--json', f'{tmp_path}/f.json', '--max-gap-s', '1']
    assert main([*words, '--poses', f'{tmp_path}/f.tum', *out]) == 0
    found = strict((tmp_path / 'f.json').read_text())
    assert found['median_cm'] == pytest.approx(0, abs=1e-3)


@pytest.mark.parametrize(
    ('more', 'complaint'),
    [
        (['--report', 'SITE/r.html'], 'lies in the map'),
        (['--json', 'SITE/submaps/f.json'], 'lies in the map'),
        (['--report', '/nowhere/r.html'], 'no such folder'),
        (['--tum', '/nowhere/f.tum'], 'no such folder'),
        (['--json', '/'], 'is a folder'),
        (['--map', '/nowhere'], 'no such map'),
        (['--worst', '-1'], '--worst -1'),
    ],
)
def test_what_cannot_be(
    words: list[str],
    knowing: Any,
    capsys: pytest.CaptureFixture[str],
    more: list[str],
    complaint: str,
) -> None:
    assert main([*words, *(m.replace('SITE', str(knowing.site)) for m in more)]) == 2
    said = capsys.readouterr().err
    assert complaint in said
    assert 'Traceback' not in said
