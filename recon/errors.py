"""Errors that a user can cause, and what the page or the shell shows of them."""


class InputError(ValueError):
    """Something the user gave cannot be used; the message is one sentence that says what to do."""
