"""The folder that a command trains a network into: checked first, resumed, written at the end."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from vloc_models.config import to_yaml
from vloc_models.errors import VlocError

RECIPE = 'recipe.yaml'


@dataclass(frozen=True)
class TrainingFolder:
    """Where the files of a network go, and half-way its checkpoint."""

    out: Path
    files: tuple[str, ...]  # beside recipe.yaml

    @property
    def checkpoint(self) -> Path:
        """Where training goes on from."""
        return self.out / 'training.pt'

    def check(self, overwrite: bool) -> None:
        """Refuse a folder before hours of work, not after."""
        out = self.out
        try:
            out.mkdir(parents=True, exist_ok=True)
            there = [name for name in (*self.files, RECIPE) if (out / name).exists()]
            half_way = self.checkpoint.exists()
        except OSError as e:
            raise VlocError(f'{out}: {e.strerror}', 'name a folder that can be written') from e
        if there and not half_way and not overwrite:
            raise VlocError(
                f'{out}: {there[0]} exists already', 'choose another name, or add --overwrite'
            )
        if not os.access(out, os.W_OK | os.X_OK):
            raise VlocError(f'{out}: cannot be written to', 'name a folder that can')

    def begin(self, recipe: Any) -> None:
        """Note the recipe beside the checkpoint, which may only go on with the same one."""
        note, text = self.out / 'training.yaml', to_yaml(recipe).encode()
        try:
            other = self.checkpoint.exists() and note.exists() and note.read_bytes() != text
        except OSError as e:
            raise VlocError(f'{note}: {e.strerror}', 'delete it') from e
        if other:
            raise VlocError(
                f'{self.out}: half-way through another recipe (training.yaml)',
                'give the same options, or delete training.pt to start anew',
            )
        _write(note, text)

    def finish(self, contents: Mapping[str, bytes], recipe: Any) -> None:
        """Write the files; the checkpoint stays until all are there."""
        assert tuple(contents) == self.files
        for name, data in {**contents, RECIPE: to_yaml(recipe).encode()}.items():
            _write(self.out / name, data)
        for name in ('training.pt', 'training.yaml'):
            (self.out / name).unlink(missing_ok=True)


def check_device(device: str) -> None:
    """Refuse CUDA where there is none."""
    if device == 'cuda' and not torch.cuda.is_available():
        raise VlocError('no CUDA device here', 'use --device cpu')


def _write(file: Path, data: bytes) -> None:
    """Write a file whole or not at all."""
    temporary = file.with_name(f'.{file.name}.new')
    try:
        temporary.write_bytes(data)
        temporary.replace(file)
    except OSError as e:
        raise VlocError(f'{file}: cannot be written: {e.strerror}', 'free some disk') from e
