"""Telling people: what happened, in one message per recipient, once."""
