"""``python -m recon`` is ``parallax``, for those who start processes by module (torchrun)."""

import sys

from recon.cli import main

sys.exit(main())
