"""Doors for programs: what is asked and answered over HTTP."""
