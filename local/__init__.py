"""The whole stack on one machine, built from the template. Never part of a deployment.

The functions and the core layer have the import paths that they have in Lambda.
"""

import sys
from pathlib import Path

for _source in ("layers/core", "functions"):
    _path = str(Path(__file__).parents[1] / _source)
    if _path not in sys.path:
        sys.path.insert(0, _path)
