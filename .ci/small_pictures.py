"""Copies pictures of the browser tests to docs/images in 128 colours: a third of the size, and no difference to see.

Pillow comes with Bokeh.
"""

from __future__ import annotations

import sys
from pathlib import Path

from PIL import Image

ROOT = Path(__file__).parents[1]

target = ROOT / "docs" / "images"
target.mkdir(exist_ok=True)
for name in sys.argv[1:]:
    picture = Image.open(ROOT / "tests" / "notebook" / "artefacts" / f"{name}.png").convert("RGB")
    picture.quantize(128, dither=Image.Dither.NONE).save(target / f"{name}.png", optimize=True)
