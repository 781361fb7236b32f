"""What the user sees: one page, one viewer per visitor, one port."""

import recon as recon  # before anything that brings numpy: it says how many threads that takes
