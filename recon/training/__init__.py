"""Training: scenes that never were, the losses of the field, and the loop (see ``parallax train --help``)."""
