"""Commands for the operator of a stack: deploy it, make API keys, send rejected messages again.

The stack is a deployed one, or the one on this machine. The functions' own code does the work, so
the core layer is on the path of every module of this package.
"""

import sys
from pathlib import Path

_CORE = str(Path(__file__).parents[1] / "layers" / "core")
if _CORE not in sys.path:
    sys.path.append(_CORE)
