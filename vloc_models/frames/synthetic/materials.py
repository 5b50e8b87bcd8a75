"""What a world is painted with: textures made on demand from a generator."""

from dataclasses import dataclass, field, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from vloc_models.frames.synthetic import decals, tiles
from vloc_models.frames.synthetic.surfaces import Material

Split = Literal['train', 'test']
Richness = Literal['ordinary', 'low']
_PERIOD_M = {'wall': 2.3, 'floor': 2.0, 'ceiling': 2.5, 'wood': 1.1, 'cloth': 0.8}
_TEXELS_PER_M = 330
_TEXELS_MAX = 512


@dataclass(frozen=True, eq=False)
class Texture:
    """One picture of the atlas."""

    image: NDArray[np.uint8]  # [h, w, 3] sRGB
    kind: str  # what a look recolours: 'wall', 'floor', ..., 'decal', 'leaf', 'outside', 'plain'
    tiled: bool


@dataclass(frozen=True, eq=False)
class Painter:
    """Makes materials; the textures go into one list shared by the whole world."""

    split: Split
    richness: Richness
    rng: np.random.Generator
    textures: list[Texture] = field(default_factory=list)

    def with_rng(self, rng: np.random.Generator) -> 'Painter':
        """The same list, other dice."""
        return replace(self, rng=rng)

    def tile(self, role: tiles.Role) -> Material:
        """A repeating material for 'wall', 'floor', 'ceiling', 'wood' or 'cloth'."""
        make = self.rng.choice(np.array(tiles.TILES[self.split][role], object))
        image = tiles.flat(self.rng) if self.richness == 'low' else make(self.rng)
        return self._add((image * 255).astype(np.uint8), role, _PERIOD_M[role])

    def plain(self, low: float = 0.15, high: float = 0.9) -> Material:
        """One colour: metal, plastic, lacquer."""
        spread = 0.1
        if self.richness == 'low':
            low, high, spread = 0.66, 0.78, 0.03
        colour = (tiles.colour(self.rng, low, high, spread).clip(0, 1) * 255).astype(np.uint8)
        return self._add(np.broadcast_to(colour, (8, 8, 3)).copy(), 'plain', 1.0)

    def decal(self, kind: str, width_m: float, height_m: float, emits: str = '') -> Material:
        """A picture that appears once: 'picture', 'screen' or 'books'."""
        size = self._texels(width_m, height_m)
        if self.richness == 'low':
            image = decals.blank(self.rng, size, 150, 220)
        else:
            make = self.rng.choice(np.array(decals.DECALS[self.split][kind], object))
            image = make(self.rng, size)
        return self._add(image, 'decal', None, emits)

    def leaf(self) -> Material:
        """Foliage."""
        return self._add(decals.leaf(self.rng, (32, 64)), 'leaf', None)

    def outside(self, width_m: float, height_m: float) -> Material:
        """The view through a window."""
        size = self._texels(width_m, height_m)
        return self._add(decals.view_outside(self.rng, size), 'outside', None, 'window')

    def shining(self) -> Material:
        """A lamp's shade."""
        return self._add(np.full((8, 8, 3), 250, np.uint8), 'plain', 1.0, 'lamp')

    @staticmethod
    def _texels(width_m: float, height_m: float) -> tuple[int, int]:
        w, h = (int(np.clip(s * _TEXELS_PER_M, 32, _TEXELS_MAX)) for s in (width_m, height_m))
        return w, h

    def _add(
        self, image: NDArray[np.uint8], kind: str, period_m: float | None, emits: str = ''
    ) -> Material:
        self.textures.append(Texture(image, kind, period_m is not None))
        return Material(len(self.textures) - 1, period_m, emits)
