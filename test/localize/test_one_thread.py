"""Small products are not shared among threads that then spin: that costs more than it brings."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from numpy.typing import NDArray
from threadpoolctl import threadpool_info, threadpool_limits

from vloc_models.localize.localizer import Localizer


def threads() -> set[int]:
    """Of every library for linear algebra."""
    return {lib['num_threads'] for lib in threadpool_info() if lib['user_api'] == 'blas'}


def test_linear_algebra_is_left_to_one_thread_meanwhile(
    tiny_site: Path, gallery: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    localizer, seen = Localizer.load(tiny_site), list[set[int]]()
    encoder = type(localizer.encoder)
    run: Any = encoder.__call__

    def watched(self: Any, arrays: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        seen.append(threads())
        return run(self, arrays)

    monkeypatch.setattr(encoder, '__call__', watched)
    with threadpool_limits(2, user_api='blas'):
        localizer.locate(gallery.drawn[3].views)
        assert seen == [{1}]
        assert threads() == {2}
