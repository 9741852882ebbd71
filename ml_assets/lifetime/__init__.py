"""What a customer is worth: purchases still to come, what each brings, and contracts that end."""
