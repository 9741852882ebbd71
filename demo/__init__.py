"""A simulated world of three companies, and the Habari CRM that serves it. Imports nothing of ours."""
