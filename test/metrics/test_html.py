import re
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from matplotlib.figure import Figure

from vloc_models.errors import VlocError
from vloc_models.geometry import se3
from vloc_models.metrics import html, report
from vloc_models.metrics.html import Evaluation, WorstFrame, render, write_html
from vloc_models.records import Trajectory

EVIL = '<script>alert("1")</script> & $title ${facts} "onload="x'


class Reader(HTMLParser):
    """The tags, their attributes and the text of a page; checks that every tag is closed."""

    VOID = ('meta', 'img', 'br')

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.text = ''
        self._open: list[str] = []
        self.feed(page)
        self.close()
        assert not self._open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += attrs
        if tag not in self.VOID:
            self._open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


@pytest.fixture
def blank(monkeypatch: pytest.MonkeyPatch) -> None:
    """Plots without anything: sooner done, and tested elsewhere."""
    for name in [name for name in vars(report) if name.endswith('_figure') and name[0] != '_']:
        monkeypatch.setattr(report, name, lambda *_: Figure((1, 1)))


def evaluation(word: str = 'plain', answered: int = 10) -> Evaluation:
    stamps = [k * 10**8 for k in range(10)]
    truth = Trajectory.of(stamps, [se3.exp([k, 0, 0, 0, 0, 0]) for k in range(10)])
    said = Trajectory(truth.stamps_ns[:answered], truth.T_map_body[:answered])
    picture = WorstFrame(np.zeros((48, 64, 3), np.uint8), word, (word, word))
    rows = [(word, word)]
    reasons = [(word, word, 3)]
    inliers = np.arange(answered)
    return Evaluation(word, rows, rows, truth, said, inliers, reasons, [picture])


def test_one_file_with_all_in_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(html, '_DPI', 40)  # sooner done
    page = Reader(render(evaluation()))
    sources = [value or '' for name, value in page.attributes if name == 'src']
    assert [s.partition(',')[0] for s in sources] == [
        *['data:image/png;base64'] * 5,
        'data:image/jpeg;base64',
    ]
    assert 'href' not in {name for name, _ in page.attributes}
    assert page.text.count('plain') == 1 + 1 + 2 + 2 + 2 + 3
    for title in ('Error over time', 'Inliers over time', 'Error curve', 'The worst frames'):
        assert title in page.text


@pytest.mark.usefixtures('blank')
@pytest.mark.parametrize('word', [EVIL, '\ud800 broken \x00 \x1b', '$', '${', ''])
def test_words_stay_words(word: str, tmp_path: Path) -> None:
    write_html(tmp_path / 'r.html', evaluation(word))
    page = Reader((tmp_path / 'r.html').read_text('utf-8'))
    plain = Reader(render(evaluation()))
    assert page.tags == plain.tags
    assert [name for name, _ in page.attributes] == [name for name, _ in plain.attributes]
    if word == EVIL:
        assert page.text.count(EVIL) == 11


@pytest.mark.usefixtures('blank')
def test_nothing_answered_and_nothing_asked() -> None:
    render(evaluation(answered=0))
    none = Trajectory.of([], [])
    page = render(Evaluation('', [], [], none, none, np.zeros(0, np.int64), []))
    assert not re.search(r'\b(inf|nan)\b', Reader(page).text)


@pytest.mark.parametrize(
    ('value', 'words'),
    [(1.25, '1.2 cm'), (np.inf, 'no pose'), (np.nan, 'none'), (0.0, '0.0 cm')],
)
def test_numbers(value: float, words: str) -> None:
    assert html.number(value, 'cm') == words
    assert html.number(3.14159, digits=2) == '3.14'


@pytest.mark.usefixtures('blank')
def test_the_old_report_is_replaced_as_a_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / 'real.html').write_text('old')
    (tmp_path / 'r.html').symlink_to('real.html')
    with monkeypatch.context() as patch:

        def full(*_: object) -> None:
            raise OSError(28, 'No space left on device')

        patch.setattr(Path, 'replace', full)
        with pytest.raises(VlocError, match='No space left'):
            write_html(tmp_path / 'r.html', evaluation())
    assert (tmp_path / 'real.html').read_text() == 'old'
    write_html(tmp_path / 'r.html', evaluation())
    assert (tmp_path / 'r.html').is_symlink()
    assert (tmp_path / 'real.html').read_text().startswith('<!DOCTYPE html>')
    assert sorted(p.name for p in tmp_path.iterdir()) == ['r.html', 'real.html']


@pytest.mark.usefixtures('blank')
def test_no_place_to_write(tmp_path: Path) -> None:
    (tmp_path / 'file').touch()
    for path in (tmp_path / 'file' / 'r.html', tmp_path):
        with pytest.raises(VlocError, match='name a place'):
            write_html(path, evaluation())
    assert [p.name for p in tmp_path.parent.glob('.*.new')] == []
