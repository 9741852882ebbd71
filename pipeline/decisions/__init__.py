"""From scores to decisions: what customers are worth."""
