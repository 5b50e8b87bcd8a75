"""Recordings and lists of sites, for tests of mapping many."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from vloc_models.frames.options import BagOptions
from vloc_models.frames.write_bag import write_bag
from vloc_models.mapping.sites import Site, read_sites

TWO = """
sites:
  - name: hall
    bags: [run]
    mapping: {training: {loop: {steps: 40}}}
  - name: bad
    bags: [broken]
"""


@pytest.fixture(scope='session')
def two_sites(
    gallery: Any, tiny_config: Any, tmp_path_factory: pytest.TempPathFactory
) -> Callable[[Path], list[Site]]:
    """Of a new folder: a site soon mapped and trained there, and one whose bag is no bag."""
    run = tmp_path_factory.mktemp('runs') / 'run'
    write_bag(run, gallery.drawn[:12])

    def make(folder: Path) -> list[Site]:
        folder.mkdir(exist_ok=True)
        (folder / 'run').symlink_to(run)
        (folder / 'broken').mkdir()
        (folder / 'broken' / 'run.mcap').write_bytes(b'no bag at all ' * 9)
        (folder / 'sites.yaml').write_text(TWO)
        encoder = replace(tiny_config.encoder, short_side_px=240)
        config = replace(tiny_config, encoder=encoder)
        return read_sites(folder / 'sites.yaml', BagOptions(), config)

    return make


@pytest.fixture(scope='session')
def alone(
    two_sites: Callable[[Path], list[Site]], tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """The folder with the map of the first site, made in this process."""
    import torch

    from vloc_models.mapping.workers import in_turn

    folder, threads = tmp_path_factory.mktemp('alone'), torch.get_num_threads()
    torch.set_num_threads(1)
    outcomes = in_turn(two_sites(folder), lambda *_: None)
    torch.set_num_threads(threads)
    assert [outcome.result for outcome in outcomes] == ['written', 'failed']
    return folder
