"""The Habari CRM over HTTP: it serves the records of a built world up to its clock, and never the truth."""
