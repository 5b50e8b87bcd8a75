"""The files of a map, to be compared with those of another one."""

from pathlib import Path
from typing import Any

import yaml


def tree(site: Path) -> dict[str, Any]:
    """All of them by name; map.yaml without date and duration."""
    files: dict[str, Any] = {
        str(p.relative_to(site)): p.read_bytes() for p in site.rglob('*') if p.is_file()
    }
    info = yaml.safe_load(files['map.yaml'])
    assert info['provenance'].pop('date')
    assert info['provenance']['self_test'].pop('map_seconds') > 0
    return files | {'map.yaml': info}


def same(ours: Path, other: Path) -> None:
    """Maps of one recording, which may lie elsewhere; byte by byte."""
    trees = tree(ours), tree(other)
    for files in trees:
        assert files['map.yaml']['provenance'].pop('bags')
    assert trees[0] == trees[1]
