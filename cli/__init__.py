"""`webhooks`: the command line for an account's webhooks, over the public API.

The rules of webhooks' fields are the functions' own, so the core layer is on the path of every
module of this package.
"""

import sys
from pathlib import Path

_CORE = str(Path(__file__).parents[1] / "layers" / "core")
if _CORE not in sys.path:
    sys.path.append(_CORE)
