"""The seeded simulator: who the customers are, what happens to them, and how the CRM's records get dirty."""
