"""The blocks that networks share."""
