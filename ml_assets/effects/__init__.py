"""What an action does to outcomes, from those whom chance treated and those whom it left alone."""
