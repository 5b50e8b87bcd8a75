"""A robot without torch loads a map and locates."""

import subprocess
import sys
from pathlib import Path

LOCATE = """
import sys

class Blocker:
    def find_spec(self, name, path=None, target=None):
        if name.partition('.')[0] in ('torch', 'torchvision', 'onnx', 'onnxscript'):
            raise ImportError(f'{name} is not on the robot')

sys.meta_path.insert(0, Blocker())
try:
    import torch
except ImportError:
    pass
else:
    raise SystemExit('torch is not blocked')

from pathlib import Path
import numpy as np
from vloc_models.geometry.camera import Camera
from vloc_models.localize.localizer import Localizer
from vloc_models.records import View

localizer = Localizer.load(Path(sys.argv[1]))
image = np.random.default_rng(0).integers(0, 256, (240, 320, 3), np.uint8)
fix = localizer.locate([View(image, Camera(320, 240, 250, 250, 159.5, 119.5), np.eye(4))])
print(fix.verdict.name, fix.reason)
assert 'torch' not in sys.modules
"""


def test_a_map_is_loaded_and_asked_where_there_is_no_torch(tiny_site: Path) -> None:
    words = [sys.executable, '-c', LOCATE, str(tiny_site)]
    run = subprocess.run(words, capture_output=True, text=True, timeout=200, check=False)
    assert run.returncode == 0, run.stderr
    assert run.stdout.split()[0] in ('NONE', 'WEAK')  # of noise
    assert len(run.stdout.split()) > 3
